"""What the papers say is better than what, as differences that the trainings here have as well."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable

from names import KINDS, LABELS, PROGRESSIVE, pea_names, short_name
from published import ACON, ALIKE, PEA, PEA_BEST, SHUFFLENET
from results import Difference


@dataclasses.dataclass(frozen=True)
class Claim:
    """That some configurations are more accurate than others, or less.

    Attributes:
      text: What is compared.
      more: The configurations whose mean is taken.
      less: Those whose mean is subtracted.
      published: The difference in the paper, in percentage points of accuracy; None where it gives no figure.
      sign: The sign of the difference in the paper: 1, 0 or -1.
    """

    text: str
    more: tuple[str, ...]
    less: tuple[str, ...]
    published: float | None
    sign: int

    def verdict(self, found: Difference) -> str:
        """Returns whether a difference is as published."""
        if self.sign == 0:
            return "differs here" if found.is_significant else "no difference here, either"
        same = found.mean * self.sign > 0
        if found.is_significant:
            return "reproduces" if same else "contradicted"
        return f"{'same' if same else 'opposite'} sign, not significant"


def pea_claims(network: str) -> list[Claim]:
    """Returns the claims of the PEA paper's section 4.1 for a network trained here."""
    figures, (best, _, limit, limited) = PEA[ALIKE[network][0]], PEA_BEST[ALIKE[network][0]]
    published = _published(figures)
    claims = []
    for name in PROGRESSIVE:
        value = round(limit - figures["relu"], 4) if LABELS[name][0] == limited else None
        claims.append(Claim(f"upper limit: {LABELS[name]} - ReLU", (name,), ("relu",), value, 1))
    stochastic, weighted = pea_names(("stochastic",)), pea_names(("weighted",))
    # On MobileNet the paper gives no figures of weighted PEA but says that accuracy fell.
    fell = not set(weighted) <= set(figures)
    sign = -1 if fell else 1
    claims += [_claim(f"PEA {short_name(name)} - ReLU", (name,), ("relu",), published) for name in stochastic]
    claims += [_claim(f"PEA {short_name(name)} - ReLU", (name,), ("relu",), published, sign) for name in weighted]
    claims.append(_claim("stochastic PEA, all - ReLU", stochastic, ("relu",), published))
    claims.append(_claim("weighted PEA, all - ReLU", weighted, ("relu",), published, sign))
    claims.append(_claim("stochastic - weighted PEA", stochastic, weighted, published))
    for kind in KINDS:
        long, short = pea_names((kind,), (90,)), pea_names((kind,), (115,))
        if not fell or kind == "stochastic":
            claims.append(_claim(f"{kind} PEA: long - short final phase", long, short, published))
    used = pea_names(("stochastic",) if fell else KINDS, (90,))
    text = "upper limits - PEA that ends at 90, on average (paper: the best of each)"
    claims.append(Claim(text, PROGRESSIVE, used, round(limit - best, 4), 1))
    return claims


def acon_claims(network: str) -> list[Claim]:
    """Returns the claims of the ACON paper's sections 4.1 and 4.2 for a network trained here."""
    alike = _published({name: -error for name, error in ACON[ALIKE[network][1]].items()})
    shufflenet = _published({name: -error for name, error in SHUFFLENET.items()})
    channel = "meta_acon_channel"
    pairs = [("acon_a", "relu"), ("acon_b", "relu"), ("acon_c", "relu"), ("acon_c", "acon_a"), ("acon_c", "acon_b")]
    pairs += [(channel, "relu"), (channel, "acon_c")]
    claims = [_claim(f"{LABELS[more]} - {LABELS[less]}", (more,), (less,), alike) for more, less in pairs]
    others = [(name, "relu") for name in ("silu", "mish", "elu", "softplus", "meta_acon_pixel", "meta_acon_layer")]
    others += [(channel, "meta_acon_layer"), ("meta_acon_layer", "meta_acon_pixel")]
    for more, less in others:
        text = f"{LABELS[more]} - {LABELS[less]} (paper: ShuffleNetV2)"
        claims.append(_claim(text, (more,), (less,), shufflenet))
    return claims


Published = Callable[[tuple[str, ...], tuple[str, ...]], float | None]


def _published(figures: dict[str, float]) -> Published:
    """Returns what tells the difference of two groups' means in a table; None where a figure is missing."""

    def difference(more: tuple[str, ...], less: tuple[str, ...]) -> float | None:
        if not set(more) | set(less) <= set(figures):
            return None
        first, second = (statistics.fmean(figures[name] for name in names) for names in (more, less))
        return round(first - second, 4)

    return difference


def _claim(text: str, more: tuple[str, ...], less: tuple[str, ...], published: Published, sign: int = 1) -> Claim:
    """Returns a claim with the sign of the paper's figure; `sign` counts where it gives none."""
    value = published(more, less)
    own = sign if value is None else (value > 0) - (value < 0)
    return Claim(text, more, less, value, own)
