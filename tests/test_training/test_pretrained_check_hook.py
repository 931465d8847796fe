import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import save_checkpoint
from torch import nn

from mmdel.errors import WeightsError
from mmdel.training import PretrainedCheckHook

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


class Attack:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f'touch "{self.proof}"',)


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmpretrain')


def mae() -> nn.Module:
    torch.manual_seed(0)
    config = dict(
        type='MAE',
        backbone=dict(type='MAEViT', arch=ARCH, img_size=64, patch_size=16, mask_ratio=0.75),
        neck=dict(
            type='MAEPretrainDecoder',
            num_patches=16,
            embed_dim=16,
            decoder_embed_dim=16,
            decoder_depth=1,
            decoder_num_heads=2,
        ),
        head=dict(type='MAEPretrainHead', patch_size=16, loss=dict(type='PixelReconstructionLoss', criterion='L2')),
    )
    model = MODELS.build(config)
    model.init_weights()
    return model


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory) -> tuple[nn.Module, str]:
    init_default_scope('mmpretrain')
    model = mae()
    file = tmp_path_factory.mktemp('mae') / 'epoch_1.pth'
    save_checkpoint({'state_dict': model.state_dict(), 'meta': {}}, str(file))
    return model, str(file)


def encoder(checkpoint: str, img_size: int = 64, arch: dict = ARCH, **init_cfg: object) -> dict:
    return dict(
        type='mmpretrain.VisionTransformer',
        arch=dict(arch),
        img_size=img_size,
        patch_size=16,
        out_type='featmap',
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.') | init_cfg,
    )


class Segmentor(nn.Module):
    """What a runner trains, as far as the hook looks at it."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        self.backbone = MODELS.build(config)

    def init_weights(self) -> None:
        self.backbone.init_weights()


class Runner:
    """The part of a runner that the hook reads."""

    def __init__(
        self, model: nn.Module, load_from: str | None = None, resume: bool = False, train: bool = True
    ) -> None:
        from mmengine.runner import BaseLoop

        class Loop(BaseLoop):
            def __init__(self) -> None:
                pass

            def run(self) -> None:
                raise NotImplementedError

        self.model, self._load_from, self._resume, self.work_dir = model, load_from, resume, '.'
        self._train_loop = Loop() if train else None


def start(config: dict, **runner: object) -> Segmentor:
    runner = Runner(Segmentor(config), **runner)
    hook = PretrainedCheckHook()
    hook.before_run(runner)
    runner.model.init_weights()
    hook.before_train(runner)
    return runner.model


@pytest.mark.parametrize('img_size', [64, 96])
def test_encoder_downstream__is_the_one_that_was_pretrained(pretrained, img_size):
    model, file = pretrained
    loaded = start(encoder(file, img_size)).backbone
    loaded.eval()
    model.backbone.eval()
    image = torch.rand(2, 3, img_size, img_size)
    with torch.no_grad():
        (after,) = loaded(image)
        if img_size == 64:
            before = model.backbone(image, mask=None)[0][:, 1:]  # drops the class token
        else:
            # the same features by hand: position embeddings resized, then the layers of the pre-trained encoder
            backbone = model.backbone
            tokens = backbone.patch_embed(image)[0]
            grid = backbone.pos_embed[:, 1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
            resized = nn.functional.interpolate(grid, (6, 6), mode='bicubic', align_corners=False)
            tokens = tokens + resized.flatten(2).transpose(1, 2)
            first = (backbone.cls_token + backbone.pos_embed[:, :1]).expand(2, -1, -1)
            tokens = torch.cat((first, tokens), 1)
            for layer in backbone.layers:
                tokens = layer(tokens)
            before = backbone.ln1(tokens)[:, 1:]
    after = after.flatten(2).transpose(1, 2)
    assert torch.allclose(before, after, atol=1e-5)
    assert after.std() > 0.1


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            dict(checkpoint='work_dirs/none/epoch_1.pth'),
            r'no checkpoint work_dirs/none/epoch_1.pth.*init_cfg.checkpoint=FILE',
        ),
        (dict(prefix='encoder.'), "no weight whose name begins with 'encoder.', but 'backbone.cls_token'"),
    ],
)
def test_missing_file_and_wrong_prefix__say_what_to_name(pretrained, change, message):
    with pytest.raises(WeightsError, match=message):
        start(encoder(**{'checkpoint': pretrained[1]} | change))


@pytest.mark.parametrize(
    ('arch', 'message'),
    [
        (dict(num_layers=3), r'does not fit backbone: weights \d+ missing in the file \(layers\.2\.'),
        (dict(num_layers=1), r'weights \d+ unknown to the model \(layers\.1\.'),
        (dict(embed_dims=32), r'of another shape \(cls_token \(1, 1, 16\) instead of \(1, 1, 32\)'),
    ],
)
def test_checkpoint_of_another_architecture__is_refused(pretrained, arch, message):
    with pytest.raises(WeightsError, match=message):
        start(encoder(pretrained[1], arch=ARCH | arch))


def test_weights_that_something_overwrites__are_noticed(pretrained):
    class Careless(Segmentor):
        def init_weights(self) -> None:
            super().init_weights()
            nn.init.zeros_(self.backbone.cls_token)

    runner, hook = Runner(Careless(encoder(pretrained[1]))), PretrainedCheckHook()
    hook.before_run(runner)
    runner.model.init_weights()
    with pytest.raises(WeightsError, match=r'1 of \d+ weights are others \(cls_token, ...\)'):
        hook.before_train(runner)


def test_testing__does_not_ask_for_the_pretraining_any_more():
    runner = Runner(Segmentor(encoder('gone.pth')), train=False)
    PretrainedCheckHook().before_run(runner)


@pytest.mark.parametrize('way', ['pretrained', 'load_from', 'resume', 'resume the latest'])
def test_malicious_checkpoint__is_refused_before_anything_runs(tmp_path, pretrained, way):
    proof, file = tmp_path / 'it ran', tmp_path / 'iter_1.pth'
    state = {'backbone.' + name: value for name, value in mae().backbone.state_dict().items()}
    torch.save({'state_dict': state, 'meta': Attack(proof)}, file)
    (tmp_path / 'last_checkpoint').write_text(str(file))
    runner = Runner(
        Segmentor(encoder(str(file) if way == 'pretrained' else pretrained[1])),
        load_from=str(file) if way in ('load_from', 'resume') else None,
        resume='resume' in way,
    )
    runner.work_dir = str(tmp_path)
    with pytest.raises(WeightsError, match=r'iter_1.pth is no plain checkpoint.*was not loaded'):
        PretrainedCheckHook().before_run(runner)
    assert not proof.exists()
    torch.load(file, weights_only=False)
    assert proof.exists()  # the file does what it threatens


def test_config__asks_for_the_hook(pretrained):
    hook = Config(dict(hook=dict(type='mmdel.PretrainedCheckHook'))).hook
    from mmengine.registry import HOOKS

    assert isinstance(HOOKS.build(hook), PretrainedCheckHook)
