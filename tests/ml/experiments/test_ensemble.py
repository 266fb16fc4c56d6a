"""Several trained networks as one model: what it says, how it is measured, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("openvino", reason="openvino is not installed")
from ml.__main__ import main  # noqa: E402
from ml.network import model  # noqa: E402
from ml.recipe import Recipe  # noqa: E402
from ml.recipe_limits import BadRecipe  # noqa: E402
from ml.runtime import session  # noqa: E402
from ml.runtime.torch_session import TorchSession  # noqa: E402
from ml.training import checkpoint, run_state  # noqa: E402
from tests.support.ml.tiny_training import TINY, cache_of_three_folds  # noqa: E402

pytestmark = pytest.mark.torch
PICTURES = np.random.default_rng(5).uniform(-1, 1, (2, 1, 64, 64)).astype(np.float32)


def member(path: Path, seed: int, fold: int = 0, **changes: object) -> Path:
    """A run's checkpoint with weights of its own."""
    recipe = replace(TINY, seed=seed, held_out_fold=fold, **changes)
    begun = run_state.start(recipe, torch.device("cpu"))
    with torch.no_grad():  # one look, so that batch-norm statistics are not the initial ones
        begun.average.train()(torch.randn(4, 1, 64, 64))
        begun.average.image.weight.normal_(std=0.1)
    path.mkdir()
    run_state.save(begun, path / "checkpoint.pt")
    return path / "checkpoint.pt"


def together(out: Path, *members: Path) -> int:
    words = [word for path in members for word in ("--member", str(path))]
    return main(["ensemble", *words, "--out", str(out)])


@pytest.fixture
def members(tmp_path: Path) -> list[Path]:
    return [member(tmp_path / f"fold-{n}", seed=n, fold=n) for n in range(3)]


def test_an_ensemble_gives_the_mean_of_its_members(members: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "all" / "checkpoint.pt"
    assert together(file, *members) == 0
    content, recipe = checkpoint.read(file)
    assert (recipe.members, recipe.held_out_fold) == (3, -1)
    net = model.build(recipe, weights=False).eval()
    checkpoint.fill(net, content["average"], "committee")
    views = torch.from_numpy(PICTURES)
    masks, images = [], []
    with torch.no_grad():
        for path in members:
            own = model.build(TINY, weights=False).eval()
            checkpoint.fill(own, checkpoint.weights(path), "member")
            mask, image = model.answer(own, views, mirror=True)
            masks.append(mask)
            images.append(image)
        mask, image = model.answer(net, views, mirror=True)
    assert float((masks[0] - masks[1]).abs().max()) > 0.01
    torch.testing.assert_close(mask, torch.stack(masks).mean(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(image, torch.stack(images).mean(0), atol=1e-5, rtol=0)


def test_it_is_exported_and_both_engines_agree(members: list[Path], tmp_path: Path) -> None:
    file, weights = tmp_path / "checkpoint.pt", tmp_path / "weights"
    together(file, *members)
    words = ["export", "--checkpoint", str(file), "--out", str(weights), "--name", "three"]
    assert main([*words, "--current"]) == 0
    folder = session.locate(weights)
    card = session.read_card(folder)
    assert card["trained"]["config"]["members"] == 3
    graph = session.open(folder, "cpu")
    network = TorchSession(card, session.checked(folder, card, session.TENSORS), "cpu")
    for ours, theirs in zip(graph.run(PICTURES), network.run(PICTURES), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_every_picture_is_measured_by_the_member_that_never_saw_it(
    members: list[Path], tmp_path: Path
) -> None:
    cache, file, weights = tmp_path / "cache", tmp_path / "checkpoint.pt", tmp_path / "weights"
    cache_of_three_folds(cache)
    together(file, *members)
    assert checkpoint.unseen(file) == set()  # each fold is known to the other two
    words = ["--out", str(weights), "--name", "three", "--cache", str(cache)]
    assert main(["export", "--checkpoint", str(file), *words]) == 0
    card = session.read_card(session.locate(weights))
    assert card["metrics"]["auc"]["n"] == 72
    assert "folds 0, 1, 2" in card["measured"]
    assert card["reference"]["n"] == 72
    assert card["data"]["counts"]["held_out"]["pictures"] == 72


def test_members_that_held_the_same_fold_out_are_measured_together(tmp_path: Path) -> None:
    cache, file, weights = tmp_path / "cache", tmp_path / "checkpoint.pt", tmp_path / "weights"
    cache_of_three_folds(cache)
    together(file, *(member(tmp_path / f"seed-{n}", seed=n, fold=1) for n in range(2)))
    assert checkpoint.read(file)[1].held_out_fold == 1
    assert checkpoint.unseen(file) == {1}
    words = ["--out", str(weights), "--name", "two", "--cache", str(cache)]
    assert main(["export", "--checkpoint", str(file), *words]) == 0
    card = session.read_card(session.locate(weights))
    assert card["metrics"]["auc"]["n"] == 24
    assert "held-out fold 1" in card["measured"]


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"size": 32, "size_from": ((0.0, 32),)}, "differ in their size"),
        ({"decoder_channels": (8, 8, 8, 8, 8)}, "another architecture"),
        ({"fold": 0}, "each another one"),
    ],
)
def test_members_that_do_not_go_together_are_refused_in_one_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    other: dict[str, object],
    sentence: str,
) -> None:
    first = [member(tmp_path / f"fold-{n}", seed=n, fold=n) for n in range(2)]
    odd = member(tmp_path / "odd", seed=9, **{"fold": 2, **other})  # type: ignore[arg-type]
    assert together(tmp_path / "out.pt", *first, odd) == 1
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "out.pt").exists()


def test_one_is_no_committee_and_none_is_a_member_of_another(
    members: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert together(tmp_path / "one.pt", members[0]) == 1
    assert "2 to 16 members" in capsys.readouterr().err
    together(tmp_path / "all.pt", *members)
    assert together(tmp_path / "more.pt", tmp_path / "all.pt", members[0]) == 1
    assert "cannot be a member of another" in capsys.readouterr().err


def test_members_are_not_trained_together() -> None:
    with pytest.raises(BadRecipe, match="one by one"):
        run_state.start(replace(TINY, members=2), torch.device("cpu"))
    with pytest.raises(BadRecipe, match="between 1 and 16"):
        Recipe.from_dict({**TINY.to_dict(), "members": 0})


def test_members_may_have_stopped_early(tmp_path: Path) -> None:
    early = {"patience": 1, "validate_every": 1}
    paths = [member(tmp_path / f"m{fold}", fold, fold=fold, **early) for fold in (0, 1)]
    assert together(tmp_path / "both.pt", *paths) == 0
    _, recipe = checkpoint.read(tmp_path / "both.pt")
    assert (recipe.members, recipe.selects_on_held_out) == (2, False)
