"""OUCH 5.0 messages as data: a class a message, its fields in wire order, their wire types as annotations.

Source: Nasdaq OUCH 5.0 specification, sections 2 (data types), 3 (inbound), 4 (outbound) and appendix
(optional appendage). Integers are big-endian and unsigned, texts ASCII, left-justified, padded with
spaces. A price is 8 bytes in 1e-4 units. A timestamp is ns since midnight in the venue's time zone.

Two revisions are in use: in the first only Enter, Replace, Accepted, Replaced, Executed and Restated
have the optional appendage, later ones put it behind every message. What is written without options
has the form of the first; both are read.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, TypeAlias

U2 = Annotated[int, "H"]
U4 = Annotated[int, "I"]
U8 = Annotated[int, "Q"]
A1 = Annotated[str, "1s"]
A4 = Annotated[str, "4s"]
A8 = Annotated[str, "8s"]
A14 = Annotated[str, "14s"]
#: Optional fields as (name, value); names are those of :data:`execution.ouch.values.OPTIONS`.
Appendage: TypeAlias = tuple[tuple[str, int | str], ...]


class EnterOrder(NamedTuple):
    """O (section 3.1). user_ref_num: strictly increasing for an account and day."""

    user_ref_num: U4
    side: A1  # B, S, T sell short, E sell short exempt
    quantity: U4
    symbol: A8
    price: U8
    time_in_force: A1  # 0 day, 3 IOC, 5 GTX, 6 GTT, E after hours
    display: A1  # Y visible, N hidden, A attributable
    capacity: A1  # A agency, P principal, R riskless, O other
    intermarket_sweep: A1  # Y, N
    cross_type: A1  # N continuous market
    client_order_id: A14
    appendage: Appendage = ()


class ReplaceOrder(NamedTuple):
    """U (section 3.2). quantity: the whole chain's, what was executed included."""

    original_user_ref_num: U4
    user_ref_num: U4
    quantity: U4
    price: U8
    time_in_force: A1
    display: A1
    intermarket_sweep: A1
    client_order_id: A14
    appendage: Appendage = ()


class CancelOrder(NamedTuple):
    """X (section 3.3). quantity: the new intended size, what was executed included; 0 cancels all."""

    user_ref_num: U4
    quantity: U4
    appendage: Appendage = ()


class ModifyOrder(NamedTuple):
    """M (section 3.4): a smaller size or another sort of sale, priority kept."""

    user_ref_num: U4
    side: A1
    quantity: U4
    appendage: Appendage = ()


class MassCancel(NamedTuple):
    """C (section 3.5). symbol: blank for all."""

    user_ref_num: U4
    firm: A4
    symbol: A8
    appendage: Appendage = ()


class DisableOrderEntry(NamedTuple):
    """D (section 3.6)."""

    user_ref_num: U4
    firm: A4
    appendage: Appendage = ()


class EnableOrderEntry(NamedTuple):
    """E (section 3.7)."""

    user_ref_num: U4
    firm: A4
    appendage: Appendage = ()


class AccountQuery(NamedTuple):
    """Q (section 3.8): which UserRefNum is the next?"""

    appendage: Appendage = ()


class SystemEvent(NamedTuple):
    """S (section 4.1). event_code: S start of day, E end of day."""

    timestamp: U8
    event_code: A1
    appendage: Appendage = ()


class Accepted(NamedTuple):
    """A (section 4.2). order_state: L live, D dead (accepted and at once cancelled)."""

    timestamp: U8
    user_ref_num: U4
    side: A1
    quantity: U4
    symbol: A8
    price: U8
    time_in_force: A1
    display: A1
    order_reference_number: U8
    capacity: A1
    intermarket_sweep: A1
    cross_type: A1
    order_state: A1
    client_order_id: A14
    appendage: Appendage = ()


class Replaced(NamedTuple):
    """U (section 4.3). quantity: what is outstanding after the replacement."""

    timestamp: U8
    original_user_ref_num: U4
    user_ref_num: U4
    side: A1
    quantity: U4
    symbol: A8
    price: U8
    time_in_force: A1
    display: A1
    order_reference_number: U8
    capacity: A1
    intermarket_sweep: A1
    cross_type: A1
    order_state: A1
    client_order_id: A14
    appendage: Appendage = ()


class Canceled(NamedTuple):
    """C (section 4.4). quantity: how many were taken off; the order may live on."""

    timestamp: U8
    user_ref_num: U4
    quantity: U4
    reason: A1
    appendage: Appendage = ()


class AiqCanceled(NamedTuple):
    """D (section 4.5): self match prevention. aiq_strategy: of later revisions, blank before."""

    timestamp: U8
    user_ref_num: U4
    decrement_shares: U4
    reason: A1
    quantity_prevented: U4
    execution_price: U8
    liquidity_flag: A1
    aiq_strategy: A1 = ""
    appendage: Appendage = ()


class Executed(NamedTuple):
    """E (section 4.6). match_number: the same on both sides of the trade."""

    timestamp: U8
    user_ref_num: U4
    quantity: U4
    price: U8
    liquidity_flag: A1
    match_number: U8
    appendage: Appendage = ()


class BrokenTrade(NamedTuple):
    """B (section 4.7): the execution ``match_number`` is taken back."""

    timestamp: U8
    user_ref_num: U4
    match_number: U8
    reason: A1  # E erroneous, C consent, S supervisory, X external
    client_order_id: A14
    appendage: Appendage = ()


class TradeCorrection(NamedTuple):
    """F (first revision): the execution ``match_number`` has another quantity or price."""

    timestamp: U8
    user_ref_num: U4
    quantity: U4
    price: U8
    liquidity_flag: A1
    match_number: U8
    reason: A1
    client_order_id: A14
    appendage: Appendage = ()


class Rejected(NamedTuple):
    """J (section 4.8). Its UserRefNum is used up. reason: :data:`~execution.ouch.values.REJECT_REASONS`."""

    timestamp: U8
    user_ref_num: U4
    reason: U2
    client_order_id: A14
    appendage: Appendage = ()


class CancelPending(NamedTuple):
    """P (section 4.9): it will be cancelled when the cross is over."""

    timestamp: U8
    user_ref_num: U4
    appendage: Appendage = ()


class CancelRejected(NamedTuple):
    """I (section 4.10): it cannot be cancelled in part now."""

    timestamp: U8
    user_ref_num: U4
    appendage: Appendage = ()


class PriorityUpdate(NamedTuple):
    """T (section 4.11)."""

    timestamp: U8
    user_ref_num: U4
    price: U8
    display: A1
    order_reference_number: U8
    appendage: Appendage = ()


class Modified(NamedTuple):
    """M (section 4.12). quantity: the total that is outstanding."""

    timestamp: U8
    user_ref_num: U4
    side: A1
    quantity: U4
    appendage: Appendage = ()


class Restated(NamedTuple):
    """R (section 4.13). reason: R refresh of display, P update of displayed price."""

    timestamp: U8
    user_ref_num: U4
    reason: A1
    appendage: Appendage = ()


class MassCancelResponse(NamedTuple):
    """X (section 4.14)."""

    timestamp: U8
    user_ref_num: U4
    firm: A4
    symbol: A8
    appendage: Appendage = ()


class DisableOrderEntryResponse(NamedTuple):
    """G (section 4.15)."""

    timestamp: U8
    user_ref_num: U4
    firm: A4
    appendage: Appendage = ()


class EnableOrderEntryResponse(NamedTuple):
    """K (section 4.16)."""

    timestamp: U8
    user_ref_num: U4
    firm: A4
    appendage: Appendage = ()


class AccountQueryResponse(NamedTuple):
    """Q (section 4.17)."""

    timestamp: U8
    next_user_ref_num: U4
    appendage: Appendage = ()


Inbound: TypeAlias = (
    EnterOrder
    | ReplaceOrder
    | CancelOrder
    | ModifyOrder
    | MassCancel
    | DisableOrderEntry
    | EnableOrderEntry
    | AccountQuery
)
Outbound: TypeAlias = (
    SystemEvent
    | Accepted
    | Replaced
    | Canceled
    | AiqCanceled
    | Executed
    | BrokenTrade
    | TradeCorrection
    | Rejected
    | CancelPending
    | CancelRejected
    | PriorityUpdate
    | Modified
    | Restated
    | MassCancelResponse
    | DisableOrderEntryResponse
    | EnableOrderEntryResponse
    | AccountQueryResponse
)

INBOUND: dict[str, type[Inbound]] = {
    "O": EnterOrder,
    "U": ReplaceOrder,
    "X": CancelOrder,
    "M": ModifyOrder,
    "C": MassCancel,
    "D": DisableOrderEntry,
    "E": EnableOrderEntry,
    "Q": AccountQuery,
}
OUTBOUND: dict[str, type[Outbound]] = {
    "S": SystemEvent,
    "A": Accepted,
    "U": Replaced,
    "C": Canceled,
    "D": AiqCanceled,
    "E": Executed,
    "B": BrokenTrade,
    "F": TradeCorrection,
    "J": Rejected,
    "P": CancelPending,
    "I": CancelRejected,
    "T": PriorityUpdate,
    "M": Modified,
    "R": Restated,
    "X": MassCancelResponse,
    "G": DisableOrderEntryResponse,
    "K": EnableOrderEntryResponse,
    "Q": AccountQueryResponse,
}

#: Messages that have an appendage length in every revision.
ALWAYS_APPENDED = frozenset({EnterOrder, ReplaceOrder, Accepted, Replaced, Executed, Restated})


def option(message: Inbound | Outbound, name: str) -> int | str | None:
    """The optional field of that name, or None."""
    for found, value in message.appendage:
        if found == name:
            return value
    return None
