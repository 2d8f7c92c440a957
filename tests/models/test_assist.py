"""SAM and SAM 2, small and with random weights, of the real architectures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.errors import ModelError
from segkit.models import hub
from segkit.models.assist import Assistant
from segkit.models.device import Device

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 160, 3), dtype=np.uint8))
CPU = Device("cpu", "fp32")


def write_sam(folder: Path) -> Path:
    """Write a small SAM."""
    from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig

    vision = SamVisionConfig(
        hidden_size=16, output_channels=16, num_hidden_layers=2, num_attention_heads=2, image_size=64, patch_size=8,
        window_size=4, global_attn_indexes=[1], mlp_dim=32, num_pos_feats=8,
    )  # fmt: skip
    prompts = SamPromptEncoderConfig(hidden_size=16, image_size=64, patch_size=8, mask_input_channels=4)
    decoder = SamMaskDecoderConfig(
        hidden_size=16, mlp_dim=32, num_hidden_layers=2, num_attention_heads=2, iou_head_hidden_dim=16
    )
    torch.manual_seed(0)
    with hub.quiet():
        SamModel(
            SamConfig(
                vision_config=vision.to_dict(),
                prompt_encoder_config=prompts.to_dict(),
                mask_decoder_config=decoder.to_dict(),
            )
        ).save_pretrained(folder)
    return folder


def write_sam2(folder: Path) -> Path:
    """Write a small SAM 2."""
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2MaskDecoderConfig,
        Sam2Model,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    backbone = Sam2HieraDetConfig(
        hidden_size=8, num_attention_heads=1, blocks_per_stage=[1, 1, 1, 1], embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 2, 4, 8], window_size_per_stage=[8, 4, 4, 4], global_attention_blocks=[],
        image_size=[128, 128],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=backbone.to_dict(), backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=32,
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
    )  # fmt: skip
    prompts = Sam2PromptEncoderConfig(hidden_size=32, image_size=128, patch_size=16, mask_input_channels=4)
    decoder = Sam2MaskDecoderConfig(
        hidden_size=32, mlp_dim=32, num_hidden_layers=2, num_attention_heads=2, iou_head_hidden_dim=16
    )
    torch.manual_seed(0)
    with hub.quiet():
        Sam2Model(
            Sam2Config(
                vision_config=vision.to_dict(),
                prompt_encoder_config=prompts.to_dict(),
                mask_decoder_config=decoder.to_dict(),
            )
        ).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("write", [write_sam, write_sam2])
def test_points_give_a_mask_of_the_photo(write: object, tmp_path: Path) -> None:
    """The mask has the photo's size and depends on where the points are and on which side."""
    assert callable(write)
    assistant = Assistant(str(write(tmp_path / "model")), CPU)
    embedding = assistant.embed(PHOTO)

    masks = [
        assistant.mask(embedding, PHOTO.size, points)
        for points in ([(20.5, 30.5, True)], [(120.5, 80.5, True)], [(20.5, 30.5, True), (120.5, 80.5, False)])
    ]

    assert {(mask.shape, mask.dtype) for mask in masks} == {((96, 160), np.dtype(bool))}
    assert not np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])


def test_sam_agrees_with_transformers(tmp_path: Path) -> None:
    """Scaling, padding and points are those of transformers' own processor."""
    from transformers import SamImageProcessorPil, SamModel, SamProcessor

    folder = write_sam(tmp_path / "model")
    with hub.quiet():
        processor = SamProcessor(SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}))
        model = SamModel.from_pretrained(folder).eval()
    points = [(20.0, 30.0, True), (120.0, 80.0, False)]
    inputs = processor(
        PHOTO, input_points=[[[x, y] for x, y, _ in points]], input_labels=[[int(inside) for *_, inside in points]],
        return_tensors="pt",
    )  # fmt: skip
    sizes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
    inputs["input_points"] = inputs["input_points"].float()
    with torch.inference_mode():
        outputs = model(**inputs, multimask_output=False)
    (expected,) = processor.post_process_masks(outputs.pred_masks, *sizes, pad_size={"height": 64, "width": 64})

    assistant = Assistant(str(folder), CPU)
    mask = assistant.mask(assistant.embed(PHOTO), PHOTO.size, points)

    assert 0 < mask.sum() < mask.size
    assert (mask != expected[0, 0].numpy()).mean() < 0.002


def test_other_networks_are_refused() -> None:
    """A segmenter is no SAM, and none is shipped."""
    with pytest.raises(ModelError, match="Expected SAM"):
        Assistant(str(hub.toy_folder() / "segmenter"), CPU)
    with pytest.raises(ModelError, match="shipped"):
        Assistant("toy", CPU)
