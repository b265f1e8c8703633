"""What a worker keeps of the catalogue for people and filters: titles for reasons, and which items may not be listed.

What the models make of it, categories and prices, is in `online_models.shelf`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict

from .contracts.catalogue import Item
from .reasons import shortened

log = logging.getLogger("headrace")


class Catalogue:
    """Titles, and items withheld, at most ``capacity`` of each: beyond it, what was told longest ago is forgotten.

    An item whose title is forgotten goes by its id. One that is withheld and forgotten stays out of lists as long as the
    item table knows it.

    >>> catalogue = Catalogue(capacity=2)
    >>> for item_id in ("a", "b", "c"):
    ...     catalogue.tell(item_id, Item(item_id=item_id, title=item_id.upper()), withheld=False)
    >>> [catalogue.title_of(item_id) for item_id in ("a", "b", "c")], catalogue.forgotten
    (['a', 'B', 'C'], 1)
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._titles: OrderedDict[str, str] = OrderedDict()
        self._withheld: OrderedDict[str, str] = OrderedDict()
        self.forgotten = 0
        """Titles and withheld items for which there was no room."""

    def tell(self, item_id: str, item: Item | None, withheld: bool) -> None:
        """News of an item; None: it was removed."""
        self._titles.pop(item_id, None)
        self._withheld.pop(item_id, None)
        if item is not None and item.title:
            self._keep(self._titles, item_id, shortened(item.title), "titles")
        if withheld:
            self._keep(self._withheld, item_id, "", "items that may not be listed")

    def _keep(self, kept: OrderedDict[str, str], item_id: str, title: str, what: str) -> None:
        kept[item_id] = title
        if len(kept) <= self._capacity:
            return
        kept.popitem(last=False)
        self.forgotten += 1
        if self.forgotten & (self.forgotten - 1) == 0:  # the first, the second, the fourth ...
            log.warning(
                "the catalogue has more than %d %s, those told longest ago are forgotten (%d so far): raise max_items",
                *(self._capacity, what, self.forgotten),
            )

    def title_of(self, item_id: str) -> str:
        """The name that a person knows an item by, as it stands in a reason; its id where there is none."""
        return self._titles.get(item_id, item_id)

    def withholds(self, item_id: str) -> bool:
        """Whether the catalogue says that the item may not be listed."""
        return item_id in self._withheld

    def sizes(self) -> dict[str, float]:
        """How much is kept."""
        return {
            "titles": float(len(self._titles)),
            "withheld": float(len(self._withheld)),
            "forgotten": float(self.forgotten),
        }
