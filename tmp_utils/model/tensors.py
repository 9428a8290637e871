"""What an adapter's tensors do to a backbone.

Conventions: an adapter's tensors say by their names what they are, so that a file needs no code of its
method:

    "embedding"                        (n_vectors, d), the placeholder's vectors
    "<parameter>"                      the parameter's full new value
    "<parameter>.difference"           fp16, added to the parameter: how finished runs keep full values
    "<module>.lora_A.weight", "lora_B" (rank, in), (out, rank): the weight W becomes W + B A (peft's names)
    "<parameter>.shift"                (r,), added to the parameter's singular values, which stay >= 0

A parameter is named as in `backbone`: "unet.<name>" or "text_encoder.<name>".

An adapter's strength s is a number from 0 to 1.5: 1 is what was learned, 0 is the backbone as it is. In between, and
above 1, each changed parameter is W + s (W' - W), and a new word lies on the line from the class noun's vector (the
mean of its tokens') through the learned one.

full_weights   : tensors of an adapter -> values of the parameters they change; used in training too.
scaled_weights : the same at a strength.
scaled_word    : a new word's vectors at a strength.
check_strength, check_shapes, tensor_fault : what cannot be.
noun_embedding : the class noun's vector.
singular       : a parameter's singular value decomposition.
"""

from numbers import Real

import torch

from tmp_utils.model.backbone import Backbone

LORA_A, LORA_B, SHIFT, EMBEDDING = ".lora_A.weight", ".lora_B.weight", ".shift", "embedding"
DIFFERENCE = ".difference"
MAX_STRENGTH = 1.5


def full_weights(
    backbone: Backbone, tensors: dict[str, torch.Tensor], spectra: dict | None = None
) -> dict[str, torch.Tensor]:
    """Values of the parameters that an adapter's tensors change, differentiable in the tensors.

    Parameters
    ----------
    spectra : decompositions by parameter name, filled as needed; keep it to compute each only once.
    """
    spectra = {} if spectra is None else spectra
    weights = {}
    for name, tensor in tensors.items():
        if name.endswith(LORA_A):
            module = name.removesuffix(LORA_A)
            change = tensors[module + LORA_B] @ tensor
            weights[f"{module}.weight"] = backbone.parameter(f"{module}.weight") + change
        elif name.endswith(SHIFT):
            of = name.removesuffix(SHIFT)
            if of not in spectra:
                spectra[of] = singular(backbone.parameter(of))
            left, values, right = spectra[of]
            change = (left * (torch.relu(values + tensor) - values)) @ right
            weights[of] = backbone.parameter(of) + change.reshape(backbone.parameter(of).shape)
        elif name.endswith(DIFFERENCE):
            of = name.removesuffix(DIFFERENCE)
            weights[of] = backbone.parameter(of) + tensor.float()
        elif is_parameter(name):
            weights[name] = tensor
    return weights


def is_parameter(name: str) -> bool:
    """Whether an adapter's tensor is a parameter's full value."""
    return name != EMBEDDING and not name.endswith((LORA_A, LORA_B, SHIFT, DIFFERENCE))


def singular(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U (out, r), S (r,), V^T (r, rest) of a weight whose axes after the first are taken as one."""
    return torch.linalg.svd(weight.detach().flatten(1), full_matrices=False)


def scaled_weights(backbone: Backbone, tensors: dict[str, torch.Tensor], strength: float) -> dict[str, torch.Tensor]:
    """Values of the parameters that an adapter's tensors change, at a strength."""
    if strength == 0:
        return {}
    weights = full_weights(backbone, tensors)
    if strength == 1:
        return weights
    return {name: torch.lerp(backbone.parameter(name), weight, strength) for name, weight in weights.items()}


def scaled_word(backbone: Backbone, embedding: torch.Tensor, class_noun: str, strength: float) -> torch.Tensor:
    """A new word's vectors (n_vectors, d) at a strength."""
    if strength == 1:
        return embedding
    noun = noun_embedding(backbone, class_noun, len(embedding))
    return noun if strength == 0 else torch.lerp(noun, embedding, strength)


def noun_embedding(backbone: Backbone, class_noun: str, n_vectors: int) -> torch.Tensor:
    """(n_vectors, d), all rows alike: the mean of the class noun's embeddings."""
    return backbone.mean_word(class_noun).repeat(n_vectors, 1)


def check_strength(strength: float) -> None:
    """Raise ValueError where a strength is not a number from 0 to `MAX_STRENGTH`."""
    number = isinstance(strength, Real) and not isinstance(strength, bool)
    if not (number and 0 <= strength <= MAX_STRENGTH):  # NaN is neither
        raise ValueError(
            f"strength={strength!r}: expected a number from 0 (the backbone as it is, asked for the class noun) to "
            f"{MAX_STRENGTH}; 1 is what was learned."
        )


def tensor_fault(placeholder: str | None, tensors: dict[str, torch.Tensor]) -> str | None:
    """What is wrong with an adapter's tensors by themselves, or None."""
    if bool(placeholder) != (EMBEDDING in tensors):
        return "placeholder and embedding do not go together"
    for name, tensor in tensors.items():
        if not (tensor.is_floating_point() and tensor.isfinite().all()):
            return f"{name} holds values that are not finite numbers"
        for end, other in ((LORA_A, LORA_B), (LORA_B, LORA_A)):
            partner = name.removesuffix(end) + other
            if name.endswith(end) and partner not in tensors:
                return f"{name} without {partner}"
    return None


def check_shapes(name: str, tensors: dict[str, torch.Tensor], backbone: Backbone) -> None:
    """Raise ValueError where a tensor of the adapter of this name does not fit the backbone."""
    for tensor_name, tensor in tensors.items():
        expected = _expected_shape(tensor_name, tensors, backbone)
        if tuple(tensor.shape) != expected:
            raise ValueError(
                f"{name}: {tensor_name} has shape {tuple(tensor.shape)}; this backbone expects {expected}. The "
                "adapter is damaged: train it again, or copy its folder afresh."
            )


def _expected_shape(name: str, tensors: dict[str, torch.Tensor], backbone: Backbone) -> tuple[int, ...] | None:
    """The shape that a tensor of a name must have; None where the backbone has no such parameter."""
    if name == EMBEDDING:
        return max(1, len(tensors[name])) if tensors[name].ndim else 1, len(backbone.mean_word())
    try:
        if name.endswith((LORA_A, LORA_B)):
            module = name.removesuffix(LORA_A).removesuffix(LORA_B)
            n_out, n_in = backbone.parameter(f"{module}.weight").shape
            rank = tensors[module + LORA_A].shape[0]
            return (rank, n_in) if name.endswith(LORA_A) else (n_out, rank)
        weight = backbone.parameter(name.removesuffix(SHIFT).removesuffix(DIFFERENCE))
    except (AttributeError, KeyError, ValueError, IndexError):
        return None
    return (min(weight.flatten(1).shape),) if name.endswith(SHIFT) else tuple(weight.shape)
