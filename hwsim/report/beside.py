"""What stands beside a result in its reports, where it was asked for."""

from __future__ import annotations

import msgspec

from dtss.hwsim.compare import Comparison
from dtss.hwsim.paper_accounting import PaperLayer
from dtss.hwsim.savings import Saving


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """comparison: --compare.  paper_model: --model paper.  savings: --savings."""

    comparison: Comparison | None = None
    paper_model: tuple[PaperLayer, ...] | None = None
    savings: tuple[Saving, ...] | None = None


NOTHING = Beside()
