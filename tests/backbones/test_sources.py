"""Where models come from, what is known of them, and what is said when they cannot be had."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict

import pytest
import safetensors.torch
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from augment.backbones.load import load_backbone
from augment.backbones.memory import count_parameters
from augment.backbones.sources import Origin, explain, origin_of
from augment.errors import BackboneError
from augment.recipe import BackboneConfig

CARD = "---\nlicense: {}\ntags:\n- x\n---\n\n# A model\n"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def model(tmp_path_factory, write_stable_diffusion):
    return write_stable_diffusion(tmp_path_factory.mktemp("model"))


def load(model, **changes):
    return load_backbone(BackboneConfig(model=str(model), resolution=64, **changes), "cpu", "float32")


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        (CARD.format("creativeml-openrail-m"), "creativeml-openrail-m"),
        ("---\nlicense: other\nlicense_name: my-terms\n---\n", "my-terms"),
        ("---\nlicense: other\n---\n", "other"),
        ("# No card\nlicense: mit\n", None),
        ("---\nlicense: [\n---\n", None),
        ("", None),
    ],
)
def test_the_licence_is_the_cards(tmp_path, card, licence):
    (tmp_path / "README.md").write_text(card)
    assert origin_of(BackboneConfig(model=str(tmp_path))).licence == licence


def test_the_licence_is_kept_with_the_loaded_model(model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "copy")
    (copy / "README.md").write_text(CARD.format("openrail++"))
    assert load(copy).origin.licence == "openrail++"
    assert load_backbone(BackboneConfig()).origin.licence == "apache-2.0"
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, path, metadata={"modelspec.license": "mine"})
    assert origin_of(BackboneConfig(model=str(path))).licence == "mine"


def test_a_hub_model_is_loaded_from_the_cache_at_its_revision(model, tmp_path):
    """In a process of its own: the libraries read where the cache is as they are imported."""
    cache = tmp_path / "models--someone--model"
    shutil.copytree(model, cache / "snapshots" / COMMIT)
    (cache / "snapshots" / COMMIT / "README.md").write_text(CARD.format("mit"))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(COMMIT)
    code = """if True:
        from dataclasses import asdict, replace
        from augment.backbones.load import load_backbone
        from augment.backbones.memory import count_parameters
        from augment.errors import BackboneError
        from augment.recipe import BackboneConfig
        config = BackboneConfig("someone/model", resolution=64)
        for revision in (None, "COMMIT"):
            backbone = load_backbone(replace(config, revision=revision), "cpu", "float32")
            print(asdict(backbone.origin), sum(p.numel() for p in backbone.unet.parameters()))
        print(count_parameters(config))
        try:
            load_backbone(replace(config, revision="other"), "cpu")
        except BackboneError as error:
            print(error)
    """.replace("COMMIT", COMMIT)
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    first, second, counted, refused = run.stdout.splitlines()
    assert first == second == str(asdict(Origin("someone/model", COMMIT, "mit"))) + f" {counted}"
    assert int(counted) == count_parameters(BackboneConfig(model=str(model)))
    assert "not in the local cache" in refused and "--recipe tiny" in refused


def test_weights_in_half_precision_alone_are_found(model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "copy")
    for path in copy.rglob("*.safetensors"):
        weights = {name: value.half() for name, value in safetensors.torch.load_file(path).items()}
        path.unlink()
        safetensors.torch.save_file(weights, path.with_suffix(".fp16.safetensors"), {"format": "pt"})
    found, expected = load(copy), load(model)
    assert found.unet.dtype == torch.float32
    assert torch.allclose(found.unet.conv_in.weight, expected.unet.conv_in.weight, atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (GatedRepoError, "gated.*https://huggingface.co/someone/model.*hf auth login"),
        (RevisionNotFoundError, "no such revision"),
        (RepositoryNotFoundError, "none of that name"),
        (LocalEntryNotFoundError, "not in the local cache"),
        (ValueError, "We could not. Use"),
    ],
)
def test_why_it_cannot_be_had_is_one_line(kind, words):
    cause = kind.__new__(kind)  # the hub's errors are made from its answers
    cause.args = ("what the hub says",)
    error = OSError("We could not\nconnect")
    error.__cause__ = cause
    line = explain("someone/model", error)
    assert "\n" not in line and "--recipe tiny" in line
    assert re.search(words, line)


def changed(model, folder, part, **values):
    copy = shutil.copytree(model, folder)
    path = next((copy / part).glob("*config.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return copy


@pytest.mark.parametrize(
    ("part", "values", "words"),
    [
        ("unet", {"addition_embed_type": "text_time"}, "SDXL"),
        ("scheduler", {"prediction_type": "flow_prediction"}, "predicts 'flow_prediction'"),
        ("scheduler", {"rescale_betas_zero_snr": True}, "zero terminal SNR"),
        ("text_encoder", {"vocab_size": 300}, "cannot be loaded"),
    ],
)
def test_other_kinds_are_refused_in_one_line(model, tmp_path, part, values, words):
    with pytest.raises(BackboneError, match=words) as error:
        load(changed(model, tmp_path / "copy", part, **values))
    assert "\n" not in str(error.value)


def test_a_depth_model_and_a_missing_tokenizer_are_refused(model, tmp_path, write_stable_diffusion):
    with pytest.raises(BackboneError, match="5 channels"):
        load(write_stable_diffusion(tmp_path / "depth", in_channels=5))
    copy = shutil.copytree(model, tmp_path / "copy")
    shutil.rmtree(copy / "tokenizer")
    with pytest.raises(BackboneError, match="tokenizer"):
        load(copy)


def test_the_recipe_may_correct_what_a_model_says_of_itself(model):
    assert load(model).prediction_type == "epsilon"
    assert load(model, prediction_type="v_prediction").prediction_type == "v_prediction"
