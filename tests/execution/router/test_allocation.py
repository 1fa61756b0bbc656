"""Allocations against all there are, and what must hold of every one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.router.allocation import (
    Offer,
    all_in,
    allocate,
    average_cost,
    marginal_price,
    rank,
    uncertainty,
)
from tickloom.prices import NANOS

NAMES = ("A", "B", "C")
CENT = NANOS // 100


@st.composite
def ladders(draw: st.DrawFn, levels_max: int = 3, size_max: int = 4) -> list[Offer]:
    """Levels of up to three destinations, each rising, with a fee and a fill probability of its own."""
    offers = []
    for name in NAMES[: draw(st.integers(1, 3))]:
        fee = draw(st.integers(-30, 30)) * CENT // 100
        fill = draw(st.sampled_from([0.5, 0.9, 1.0]))
        latency_ns = draw(st.integers(0, 5)) * 1_000_000
        price = 100_00
        for _ in range(draw(st.integers(1, levels_max))):
            price += draw(st.integers(1, 3))
            cost = all_in("buy", price * CENT, fee) + uncertainty(fill, CENT, latency_ns, 1e-4)
            size = draw(st.integers(1, size_max)) * NANOS
            offers.append(Offer(name, price * CENT, size, cost, latency_ns))
    return offers


def spread_out(offers: list[Offer], quantity: int) -> Iterator[tuple[int, ...]]:
    """Every way to take ``quantity`` (in lots of one), by level."""
    for sizes in itertools.product(*(range(offer.size // NANOS + 1) for offer in offers)):
        if sum(sizes) == quantity:
            yield sizes


def cost_of(offers: list[Offer], quantity: int) -> int | None:
    """What ``allocate`` comes to, by the levels that it must have taken."""
    total = 0
    for share in allocate(rank(offers), quantity * NANOS, NANOS):
        left = share.quantity
        for offer in offers:
            if offer.destination == share.destination:
                total += min(left, offer.size) // NANOS * offer.cost
                left -= min(left, offer.size)
        assert left == 0
    return total


@given(ladders(levels_max=2, size_max=3), st.integers(1, 8))
def test_no_allocation_is_cheaper(offers: list[Offer], shares: int) -> None:
    """Against every way to take as much, on books small enough to try them all."""
    there = sum(offer.size for offer in offers) // NANOS
    wanted = min(shares, there)
    least = min(
        sum(size * offer.cost for size, offer in zip(sizes, offers, strict=True))
        for sizes in spread_out(offers, wanted)
    )
    assert cost_of(offers, shares) == least
    if shares <= there:
        assert average_cost(rank(offers), shares * NANOS) == least // shares


@given(ladders(), st.integers(1, 40 * 10), st.sampled_from([1, 2, 5]))
def test_lots_sizes_and_quantity_hold(offers: list[Offer], tenths: int, lot: int) -> None:
    """Whole lots, no more than is wanted, no more than a destination displays, and all that there is."""
    quantity = tenths * NANOS // 10
    shares = allocate(rank(offers), quantity, lot * NANOS)
    total = sum(share.quantity for share in shares)
    assert total <= quantity
    assert len({share.destination for share in shares}) == len(shares)
    for share in shares:
        levels = [offer for offer in offers if offer.destination == share.destination]
        assert share.quantity > 0
        assert share.quantity % (lot * NANOS) == 0
        assert share.quantity <= sum(offer.size for offer in levels)
        assert share.worst in {offer.price for offer in levels}
    room = sum(offer.size // (lot * NANOS) for offer in offers)
    assert total == min(quantity // (lot * NANOS), room) * lot * NANOS


@given(ladders(), st.integers(1, 30), st.sampled_from(NAMES), st.integers(1, 300))
def test_a_destination_made_cheaper_never_gets_less(
    offers: list[Offer], shares: int, name: str, less: int
) -> None:
    """Whatever makes it cheaper: a lower fee, a better price, a better chance."""

    def of(found: list[Offer]) -> int:
        shares_ = allocate(rank(found), shares * NANOS, NANOS)
        return sum(share.quantity for share in shares_ if share.destination == name)

    cheaper = [
        replace(offer, cost=offer.cost - less * CENT // 100) if offer.destination == name else offer
        for offer in offers
    ]
    assert of(cheaper) >= of(offers)


def test_uncertainty_on_paper() -> None:
    """One in ten misses, which costs 50 more, and 3 ns at a drift of 2: 5 and 6."""
    assert uncertainty(0.9, 50.0, 3, 2.0) == 11


@given(ladders(), st.randoms())
def test_the_order_of_the_levels_does_not_matter(offers: list[Offer], chance: object) -> None:
    """The same levels in any order are ranked the same."""
    mixed = list(offers)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert rank(mixed) == rank(offers)


@given(ladders(), st.integers(1, 30), st.integers(100_00, 100_12))
def test_a_slice_is_priced_within_the_limit_and_no_dearer_than_the_sweep(
    offers: list[Offer], shares: int, limit: int
) -> None:
    """At least where it aims, at most the limit, and a share at that price costs no more than the dearest."""
    within = [offer for offer in offers if offer.price <= limit * CENT]
    found = allocate(rank(within), shares * NANOS, NANOS)
    marginal = max((share.cost for share in found), default=0)
    for share in found:
        price = marginal_price("buy", share, marginal, limit * CENT, CENT)
        assert share.worst <= price <= limit * CENT
        assert price % CENT == 0
        assert share.cost + price - share.worst <= max(marginal, share.cost)


def test_a_sale_is_the_mirror_of_a_purchase() -> None:
    """Proceeds of 100.00 less 0.3 cents against 99.99 with a rebate of 1.2: the second has more."""
    one = all_in("sell", 100_00 * CENT, 3 * CENT // 10)
    other = all_in("sell", 99_99 * CENT, -12 * CENT // 10)
    assert (one, other) == (-99_997 * CENT // 10, -100_002 * CENT // 10)
    offers = [Offer("A", 100_00 * CENT, NANOS, one), Offer("B", 99_99 * CENT, NANOS, other)]
    assert [share.destination for share in allocate(rank(offers), NANOS, NANOS)] == ["B"]
    (share,) = allocate(offers[:1], NANOS, NANOS)
    assert marginal_price("sell", share, one + 5 * CENT, 99_97 * CENT, CENT) == 99_97 * CENT
