"""Small image-text-to-text networks with random weights: a chat model, and BLIP-2."""

from pathlib import Path
from typing import Any

WORDS = "<pad> <s> </s> <unk> <image> USER ASSISTANT : . Describe this picture in one sentence".split()
WORDS += [f"word{number}" for number in range(17)]
TEMPLATE = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %} ASSISTANT:"
)
SIDE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZE = {"height": 32, "width": 32}


def write_llava(folder: Path, template: str | None = TEMPLATE) -> Path:
    """Write a LLaVA, which is asked through a chat template."""
    import transformers as t

    vision = t.CLIPVisionConfig(image_size=32, patch_size=16, intermediate_size=16, **SIDE)
    text = t.LlamaConfig(vocab_size=len(WORDS), intermediate_size=16, pad_token_id=0, **SIDE)
    config = t.LlavaConfig(vision_config=vision, text_config=text, image_token_index=4, image_seq_length=4)
    processor = t.LlavaProcessor(
        image_processor=t.CLIPImageProcessorPil(size=SIZE, crop_size=SIZE),
        tokenizer=_tokenizer(),
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
    return _save(folder, lambda: t.LlavaForConditionalGeneration(config), processor)


def write_blip2(folder: Path) -> Path:
    """Write a BLIP-2 with an OPT, which needs no question."""
    import transformers as t

    text = {"ffn_dim": 16, "word_embed_proj_dim": 16, "max_position_embeddings": 64, "pad_token_id": 0}
    ends = {"bos_token_id": 2, "eos_token_id": 2}
    config = t.Blip2Config(
        vision_config={"image_size": 32, "patch_size": 16, "intermediate_size": 16, **SIDE},
        qformer_config={"encoder_hidden_size": 16, "vocab_size": 32, "intermediate_size": 16, **SIDE},
        text_config=t.OPTConfig(vocab_size=len(WORDS), **text, **ends, **SIDE).to_dict(),
        num_query_tokens=4,
        image_token_index=4,
    )
    processor = t.Blip2Processor(t.BlipImageProcessorPil(size=SIZE), _tokenizer(), num_query_tokens=4)
    return _save(folder, lambda: t.Blip2ForConditionalGeneration(config), processor)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=words, extra_special_tokens={"image_token": "<image>"}, **ends)


def _save(folder: Path, make: Any, processor: Any) -> Path:
    import torch

    torch.manual_seed(0)
    network = make()
    with torch.no_grad():  # larger weights, so that what is said depends on the picture
        for weight in network.parameters():
            weight.mul_(8)
    network.generation_config.suppress_tokens = list(range(15))  # all but the fillers: what is said is no question
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
