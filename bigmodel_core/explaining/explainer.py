"""The contract of explainers: how it is found what of its inputs a model's answer came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bigmodel_core.registry.contracts import undefined

if TYPE_CHECKING:
    from bigmodel_core.explaining.attribution import Attribution
    from bigmodel_core.explaining.question import Question


class Explainer:
    """A method that says what of its inputs a model's answer came from; a frozen dataclass.

    `is_additive` says that the values of a sample add up to what is explained less the same at the baseline:
    `bm.explain` then refuses values that do not. `is_signed` says that values below 0 speak against the
    answer; without it, values only tell how much counts. `is_global` says that they concern the model and all
    samples together.
    """

    is_additive: ClassVar[bool] = False
    is_signed: ClassVar[bool] = True
    is_global: ClassVar[bool] = False

    def explain(self, question: Question) -> Attribution:
        """The answer to a question, as `question.answer(...)` makes it.

        Args:
            question: the model, the samples, and which number of the output is explained.

        Raises:
            UsageError: the method does not fit the model.
        """
        raise undefined(self, "explainer", "explain")
