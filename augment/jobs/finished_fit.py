"""Which fit paints a target."""

from __future__ import annotations

from dataclasses import replace

from augment.data.sample import Target
from augment.errors import TargetError, WorkspaceError
from augment.recipe import Recipe
from augment.workspace import Run, Workspace, fitted_defects, joint_name


def finished_fit(target: Target, recipe: Recipe, workspace: Workspace, fold: int | str) -> Run:
    """The finished fit of a target on the same backbone: its own, or with `fit.together` its category's.

    Raises:
        TargetError: there is none of that kind.
        WorkspaceError: it was made with other settings of the backbone, the windows or the data.
    """
    together = recipe.fit.together
    folder = workspace.fit_folder(target.key, fold, together)
    run = Run.find(folder)
    learnt = fitted_defects(run.info()) if run is not None and together else (target.defect,)
    command = _command(target, learnt, fold, together)
    if run is None or not run.done or target.defect not in learnt:
        state = "is not fitted" if run is None else "is fitted only in part"
        if target.defect not in learnt:
            state, command = f"is not in the fit of {joint_name(learnt)}", f"{command} --force"
        where = f"{workspace.root} ({'together, ' if together else ''}fold {fold})"
        raise TargetError(
            f"{target.key} {state} in {where}. Run: {command}{_other_way(target, workspace, fold, together)}"
        )
    fitted = Recipe.read(folder / "recipe.yaml")
    # A fit may paint whole frames, whatever windows it has learnt from.
    fitted = replace(fitted, window=replace(fitted.window, full_frame=recipe.window.full_frame))
    for section in ("backbone", "window", "data"):
        if getattr(fitted, section) != getattr(recipe, section):
            raise WorkspaceError(
                f"{folder} was fitted with other '{section}' settings than this recipe's. Use the recipe "
                f"'{fitted.name}' (and the same --set), or fit again: {command} --force"
            )
    return run


def _command(target: Target, learnt: tuple[str, ...], fold: int | str, together: bool) -> str:
    """What makes the fit."""
    defects = sorted({*learnt, target.defect})
    words = ["augment fit", *(str(target.category.root / defect) for defect in defects)]
    words += ["--together"] * together
    words += [f"--fold {fold}"] if fold != 0 else []
    return " ".join(words)


def _other_way(target: Target, workspace: Workspace, fold: int | str, together: bool) -> str:
    """A hint, where the target is fitted the other way."""
    run = Run.find(workspace.fit_folder(target.key, fold, not together))
    if run is None or not run.done or (not together and target.defect not in fitted_defects(run.info())):
        return ""
    way, value = ("on its own", "false") if together else ("together with others", "true")
    return f"; or take the fit that has learnt it {way}, with --set fit.together={value}"
