"""Tiny image-text-to-text networks with random weights: LLaVA, BLIP-2 and Florence-2."""

import json
from pathlib import Path
from typing import Any

WORDS = "<pad> <s> </s> <unk> <image> USER ASSISTANT : . Describe this picture in one sentence".split()
FILLERS = [f"word{number}" for number in range(17)]
"""The only words that these networks generate."""
WORDS += FILLERS
TEMPLATE = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %} ASSISTANT:"
)
SIDE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZE = {"height": 32, "width": 32}


def write_llava(folder: Path, template: str | None = TEMPLATE) -> Path:
    """Write a LLaVA, which is prompted through a chat template."""
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
    """Write a BLIP-2 with OPT, which needs no prompt."""
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


def write_florence2(folder: Path) -> Path:
    """Write a Florence-2, which is prompted with a task token."""
    import transformers as t

    vision = {"depths": (1, 1, 1, 1), "embed_dim": (8, 8, 16, 16), "num_heads": (1, 1, 2, 2), "projection_dim": 16}
    text = {"model_type": "bart", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    tokens = {
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": None,
    }
    config = t.Florence2Config(
        vision_config={"num_groups": (1, 1, 2, 2), "window_size": 2, "drop_path_rate": 0.0, **vision},
        text_config={"vocab_size": len(WORDS), "max_position_embeddings": 64, **text, **heads, **tokens},
        image_token_id=4,
    )
    image_processor = t.CLIPImageProcessorPil(size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64})
    image_processor.image_seq_length = 5  # 2 x 2 features of a picture of 64 x 64, and their mean
    processor = t.Florence2Processor(image_processor, _tokenizer(), post_processor_config={"pure_text": {}})
    return _save(folder, lambda: t.Florence2ForConditionalGeneration(config), processor)


def write_processor_with_video(folder: Path, model_type: str, processor_class: str) -> None:
    """Write only the files of a processor that includes a video processor, such as Qwen-VL's."""
    _tokenizer().save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    processor = {"image_processor_type": "Qwen2VLImageProcessor", "processor_class": processor_class}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=words, extra_special_tokens={"image_token": "<image>"}, **ends)


def _save(folder: Path, build: Any, processor: Any) -> Path:
    import torch

    torch.manual_seed(0)
    network = build()
    with torch.no_grad():  # larger weights, so that the caption depends on the picture
        for weight in network.parameters():
            weight.mul_(8)
    network.generation_config.suppress_tokens = list(
        range(len(WORDS) - len(FILLERS))
    )  # a caption never contains prompt words
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
