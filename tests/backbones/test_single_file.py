"""Checkpoints in one file: the layout of Stable Diffusion's original code, written here name by name."""

from __future__ import annotations

import re

import pytest
import safetensors.torch
import torch
from transformers import CLIPTextModel

from augment.backbones.attention_processor import AttentionRegion
from augment.backbones.load import load_backbone
from augment.backbones.memory import count_parameters
from augment.errors import BackboneError
from augment.recipe import BackboneConfig

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
STEM = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip


def renamed(name, table):
    for new, old in table.items():
        if name.startswith(new + "."):
            return old + name[len(new) :]
    return name


def original_unet(weights):
    """diffusers' names -> the original's, for two levels of two layers, attention in the first."""
    found = {}
    for name, value in weights.items():
        if match := re.match(r"(down|up)_blocks\.(\d)\.(resnets|attentions)\.(\d)\.(.*)", name):
            way, level, kind, layer, rest = match.groups()
            number = int(level) * 3 + int(layer) + (way == "down")
            rest = renamed(rest, RESNET) if kind == "resnets" else rest
            side = "input_blocks" if way == "down" else "output_blocks"
            name = f"{side}.{number}.{int(kind == 'attentions')}.{rest}"
        elif match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
            kind, layer, rest = match.groups()
            rest = renamed(rest, RESNET) if kind == "resnets" else rest
            name = f"middle_block.{1 if kind == 'attentions' else 2 * int(layer)}.{rest}"
        elif match := re.match(r"down_blocks\.0\.downsamplers\.0\.conv\.(.*)", name):
            name = f"input_blocks.3.0.op.{match[1]}"
        elif match := re.match(r"up_blocks\.0\.upsamplers\.0\.conv\.(.*)", name):
            name = f"output_blocks.2.1.conv.{match[1]}"
        else:
            name = renamed(name, STEM)
        found[f"model.diffusion_model.{name}"] = value
    return found


def original_vae(weights):
    found = {}
    for name, value in weights.items():
        name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        name = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", name)
        name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
        name = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{1 - int(m[1])}.block.", name)
        name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{1 - int(m[1])}.upsample", name)
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        if match := re.match(r"(.*)mid_block\.attentions\.0\.(.*)", name):
            name = f"{match[1]}mid.attn_1.{renamed(match[2], VAE_ATTENTION)}"
            value = value[..., None, None] if value.ndim == 2 else value
        found[f"first_stage_model.{name}"] = value
    return found


def original_clip(weights):
    names = {name: name if name.startswith("text_model.") else f"text_model.{name}" for name in weights}
    return {f"cond_stage_model.transformer.{names[name]}": value for name, value in weights.items()}


def original_open_clip(weights):
    """2.x: joined projections, and a last layer that Stable Diffusion does not use."""
    weights = {name.removeprefix("text_model."): value for name, value in weights.items()}
    found = {
        "token_embedding.weight": weights["embeddings.token_embedding.weight"],
        "positional_embedding": weights["embeddings.position_embedding.weight"],
        "ln_final.weight": weights["final_layer_norm.weight"],
        "ln_final.bias": weights["final_layer_norm.bias"],
        "text_projection": torch.zeros(64, 64),
    }
    for layer in range(2):
        inner = f"encoder.layers.{layer}."
        block = f"transformer.resblocks.{layer}."
        for name, value in weights.items():
            if name.startswith(inner) and not re.search(r"\.[qkv]_proj\.", name):
                found[block + renamed(name[len(inner) :], OPEN_CLIP)] = value
        for kind in ("weight", "bias"):
            joined = [weights[f"{inner}self_attn.{part}_proj.{kind}"] for part in "qkv"]
            found[f"{block}attn.in_proj_{kind}"] = torch.cat(joined)
    for name in [name for name in found if name.startswith("transformer.resblocks.1.")]:
        found[name.replace("resblocks.1.", "resblocks.2.")] = torch.full_like(found[name], torch.nan)
    return {f"cond_stage_model.model.{name}": value for name, value in found.items()}


def write_single(folder, path, metadata=None):
    """One file with what a diffusers folder holds."""
    unet = safetensors.torch.load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    vae = safetensors.torch.load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    text = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder").state_dict()
    is_second = unet["down_blocks.0.attentions.0.proj_in.weight"].ndim == 2
    weights = original_unet(unet) | original_vae(vae)
    weights |= original_open_clip(text) if is_second else original_clip(text)
    weights = {name: value.contiguous() for name, value in weights.items()}
    safetensors.torch.save_file(weights, path, metadata=metadata)
    return path


def load(model, **changes):
    return load_backbone(BackboneConfig(model=str(model), resolution=64, **changes), "cpu", "float32")


@pytest.fixture(scope="module", params=[1, 2], ids=["1.x", "2.x"])
def pair(request, tmp_path_factory, write_stable_diffusion):
    """The same model as a folder and as one file, with how the file is to be read."""
    is_second = request.param == 2
    kind = "v_prediction" if is_second else "epsilon"
    folder = write_stable_diffusion(tmp_path_factory.mktemp("folder"), kind, is_second, text_width=64)
    path = write_single(folder, tmp_path_factory.mktemp("file") / "model.safetensors")
    return folder, path, {"prediction_type": "v_prediction"} if is_second else {}


@torch.no_grad()
def test_a_single_file_is_the_folder_it_was_written_from(pair):
    folder, path, says = pair
    expected, found = load(folder), load(path, tokenizer=str(folder), **says)
    assert found.prediction_type == expected.prediction_type
    assert torch.equal(found.alphas_cumprod, expected.alphas_cumprod)
    assert torch.equal(found.schedule(5).timesteps, expected.schedule(5).timesteps)
    prompts = [b.encode_prompts(["a photo of a bottle"])[0].embedding for b in (expected, found)]
    if not says:  # 2.x pads otherwise than the vocabulary of these tests
        assert torch.equal(*prompts)
    else:
        ids = torch.tensor([[0, 7, 9, 1]])
        assert torch.equal(found.text_encoder(ids)[0], expected.text_encoder(ids)[0])
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    z = expected.encode_images(images)
    assert torch.equal(found.encode_images(images), z)
    assert torch.equal(found.decode_latents(z), expected.decode_latents(z))
    region, t = AttentionRegion(torch.zeros(1, 1, 32, 32)), torch.tensor([500])
    condition = torch.cat([prompts[0], prompts[0]])[None]
    theirs, ours = expected.unet.state_dict(), found.unet.state_dict()
    assert theirs.keys() == ours.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    # Not bit for bit: a kernel of one pixel may lie in memory either way.
    predictions = [b.predict(z, t, condition, region) for b in (expected, found)]
    assert torch.allclose(*predictions, atol=1e-5)


def test_the_tokenizer_may_lie_beside_the_file(pair, tmp_path):
    folder, path, says = pair
    (tmp_path / "model.safetensors").symlink_to(path)
    (tmp_path / "tokenizer").symlink_to(folder / "tokenizer")
    assert load(tmp_path / "model.safetensors", **says).tokenizer.bos_token_id is not None
    with pytest.raises(BackboneError, match=r"backbone\.tokenizer=FOLDER") as error:
        load(path, **says)
    assert "\n" not in str(error.value)


def test_a_fitted_unet_takes_the_place_of_the_files_own(pair, tmp_path):
    folder, path, says = pair
    backbone = load(folder)
    with torch.no_grad():
        backbone.unet.conv_in.weight.add_(1)
    backbone.save_unet(tmp_path)
    config = BackboneConfig(model=str(path), resolution=64, tokenizer=str(folder), **says)
    fitted = load_backbone(config, "cpu", "float32", unet_folder=tmp_path)
    assert torch.allclose(fitted.unet.conv_in.weight, backbone.unet.conv_in.weight, atol=1e-2)


def test_the_parameters_are_counted_without_loading(pair):
    folder, path, _ = pair
    expected = sum(p.numel() for p in load(folder).unet.parameters())
    for model in (folder, path):
        assert count_parameters(BackboneConfig(model=str(model))) == expected


def test_a_2x_file_must_say_what_it_predicts(tmp_path, write_stable_diffusion):
    folder = write_stable_diffusion(tmp_path / "folder", "epsilon", True, text_width=64)
    path = write_single(folder, tmp_path / "model.safetensors")
    with pytest.raises(BackboneError, match=r"v_prediction .*768.* or =epsilon"):
        load(path, tokenizer=str(folder))
    stated = write_single(folder, tmp_path / "stated.safetensors", {"modelspec.prediction_type": "v"})
    assert load(stated, tokenizer=str(folder)).prediction_type == "v_prediction"
    assert load(stated, tokenizer=str(folder), prediction_type="epsilon").prediction_type == "epsilon"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["conditioner.embedders.0.x"], "SDXL"),
        (["model.diffusion_model.input_blocks.0.0.weight"], "no text encoder"),
        (["cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"], "not laid out as"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, names, words):
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({name: torch.zeros(4, 4) for name in names}, path)
    with pytest.raises(BackboneError, match=words) as error:
        load(path)
    assert "\n" not in str(error.value)


def test_files_that_are_not_safetensors_are_refused(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    for name, words in (
        ("model.ckpt", "programs"), ("missing.safetensors", "no such file"), ("broken.safetensors", "again"),
    ):  # fmt: skip
        with pytest.raises(BackboneError, match=words):
            load(tmp_path / name)
