"""Networks of somebody else's code: found by ``module:name`` or given as an object, and tried before they are trained.

In: a callable that makes a module, or the module. Out: an :class:`OwnNetwork`. The contract, as in docs/training.md:
normalised images in, logits or (logits, valence and arousal) out.
"""

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch
from torch import nn

from ferdata.errors import FerdataError, OptionError
from ferdata.setting import either
from ferdata.training.nets.designs import OBJECT_PREFIX
from ferdata.training.nets.dropout import SampleDropout
from ferdata.training.nets.interface import ExpressionNetwork

__all__ = ["OwnNetwork", "make_own"]

_TRIED_SAMPLES = 2


class OwnNetwork(ExpressionNetwork):
    """Somebody else's module, as the trainer takes it.

    Args:
        module: The module; its weights are the network's.
        num_classes: Classes.
        valence_arousal: Whether its values for them are trained; those of a module that is not asked are left alone.
    """

    def __init__(self, module: nn.Module, *, num_classes: int, valence_arousal: bool) -> None:
        super().__init__()
        self.module = module
        self.dropout, self.num_features, self.flattened = SampleDropout(0.0), 0, None
        self.has_valence_arousal = valence_arousal
        self._num_classes = num_classes

    def forward(
        self, images: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return what the module gives, without the values that nobody asks for."""
        answer = self.module(images)
        if not isinstance(answer, tuple):
            return answer, None
        return answer[0], answer[1] if self.has_valence_arousal else None

    @property
    def bare(self) -> nn.Module:
        """The module itself."""
        return self.module

    @property
    def heads(self) -> tuple[str, ...]:
        """The last linear layers with as many outputs as there are classes, and with two; none unless that is clear."""
        linear = [(name, each) for name, each in self.module.named_modules() if isinstance(each, nn.Linear)]
        found: list[str] = []
        for width in (self._num_classes, 2)[: 1 + self.has_valence_arousal]:
            names = [name for name, each in linear if each.out_features == width]
            found += names[-1:]
        return tuple(found) if len(set(found)) == 1 + self.has_valence_arousal else ()


def make_own(
    name: str,
    given: nn.Module | None,
    *,
    size: tuple[int, int],
    num_classes: int,
    channels: int,
    valence_arousal: bool,
) -> OwnNetwork:
    """Return a network of somebody else's code, which has answered for images of this size.

    Args:
        name: ``module:name``, or what stands for an object.
        given: The object; None to import it.
        size: Height and width of the images.
        num_classes: Classes.
        channels: Channels of the images.
        valence_arousal: Whether it is to give valence and arousal.

    Raises:
        OptionError: If there is no such code, or it makes something else than such a network.
    """
    if given is None and name.startswith(OBJECT_PREFIX):
        raise OptionError(
            f"model: {name} found, which was given as an object, expected it again; pass network= from Python"
        )
    if given is not None and not isinstance(given, nn.Module):
        raise OptionError(f"network: a {type(given).__name__} found, expected a torch.nn.Module; pass one")
    asked = {"num_classes": num_classes, "size": size, "channels": channels, "valence_arousal": valence_arousal}
    module = given if given is not None else _made(name, _found(name), asked)
    network = OwnNetwork(module, num_classes=num_classes, valence_arousal=valence_arousal)
    _try(name, network, (channels, *size), num_classes)
    return network


def _found(name: str) -> Callable[..., Any]:
    module_name, _, path = name.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # an installed program does not look there of itself
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            _fail(name, error)
        raise OptionError(
            f"model {name}: no module {error.name} found, expected the code of this network; run where it can be "
            "imported, or name its folder in PYTHONPATH"
        ) from error
    except Exception as error:
        _fail(name, error)
    for part in path.split("."):
        if not hasattr(found, part):
            raise OptionError(f"model {name}: no {part} in {module_name} found, expected what makes the network there")
        found = getattr(found, part)
    if not callable(found) or isinstance(found, nn.Module):
        raise OptionError(
            f"model {name}: a {type(found).__name__} found, expected a class or a function that returns the network; "
            "from Python, a network itself can be given as network="
        )
    return found  # type: ignore[no-any-return]


def _made(name: str, make: Callable[..., Any], asked: Mapping[str, Any]) -> nn.Module:
    try:
        parameters = inspect.signature(make).parameters
    except (TypeError, ValueError) as error:
        _fail(name, error)
    wanted = {key: value for key, value in asked.items() if key in parameters}
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    missing = [
        key
        for key, each in parameters.items()
        if key not in asked and each.default is inspect.Parameter.empty and each.kind not in free
    ]
    # a checkpoint names what is called here, so that it must be something that was meant to make networks
    if missing or not (wanted or (isinstance(make, type) and issubclass(make, nn.Module))):
        raise OptionError(
            f"model {name}: it asks for {', '.join(missing) or 'nothing'}, expected it to ask by name for some of "
            f"{either(list(asked))}, and for nothing else that has no default"
        )
    try:
        made = make(**wanted)
    except Exception as error:
        _fail(name, error)
    if not isinstance(made, nn.Module):
        raise OptionError(f"model {name}: it returned a {type(made).__name__}, expected a torch.nn.Module")
    return made


def _try(name: str, network: OwnNetwork, shape: tuple[int, int, int], num_classes: int) -> None:
    """See what a network gives for black images; layers that wait for their first images have seen them then."""
    first = next(network.parameters(), None)
    images = torch.zeros(_TRIED_SAMPLES, *shape, device=None if first is None else first.device)
    was_training = network.module.training
    network.module.eval()
    try:
        with torch.no_grad():
            answer = network.module(images)
    except Exception as error:
        _fail(f"{name} with images {list(images.shape)}", error)
    network.module.train(was_training)
    parts = list(answer) if isinstance(answer, tuple) else [answer]
    wanted = [[_TRIED_SAMPLES, num_classes], [_TRIED_SAMPLES, 2]]
    shapes = [list(each.shape) if isinstance(each, torch.Tensor) else type(each).__name__ for each in parts]
    if shapes not in ([wanted[0]], wanted) or (network.has_valence_arousal and shapes != wanted):
        expected = f"logits {wanted[0]}"
        pair = f"({expected}, valence and arousal {wanted[1]})"
        raise OptionError(
            f"model {name}: for images {list(images.shape)} it gives {', '.join(map(str, shapes))}, expected "
            f"{pair if network.has_valence_arousal else f'{expected} or {pair}'}"
        )
    network.gives_more = len(parts) > 1 and not network.has_valence_arousal
    if first is None:
        raise OptionError(f"model {name}: a network without parameters found, expected one that can be trained")


def _fail(name: str, error: BaseException) -> NoReturn:
    """Raise what somebody's code raised, with the place in it, as one line; memory that is full is another matter."""
    if isinstance(error, (FerdataError, MemoryError, torch.OutOfMemoryError)):
        raise error
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    outside = [frame for frame in frames if f"{os.sep}torch{os.sep}" not in frame.filename] or frames
    place = f" in {outside[-1].filename}, line {outside[-1].lineno}" if outside else ""
    text = str(error).strip().splitlines()
    raise OptionError(
        f"model {name}: {type(error).__name__}{place}{': ' + text[0][:200] if text else ''}, expected a network; "
        "try it alone in Python"
    ) from error
