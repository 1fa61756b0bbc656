"""Every exception Tickloom raises on purpose, one tree.

    TickloomError
    ├── SettingsError            a settings file or variable that cannot be used
    ├── SetupError               a piece of the set-up (jar, JRE, port, disk) is missing or wrong
    ├── ServiceError             a server of the stack is not there, or answers wrongly
    │   └── ServiceTimeout       ... within the time it was given
    ├── FeedError                what came on the wire cannot be trusted
    │   ├── DecodeError          bytes that are no message of the protocol
    │   │   ├── FieldError       ... a FIX field that is missing, or has no usable value
    │   │   ├── TruncatedMessage ... an SBE message that is longer than its bytes
    │   │   └── UnknownTemplate  ... an SBE message whose template the schema does not have
    │   ├── SchemaError          an SBE schema that cannot be compiled
    │   ├── SequenceGap          messages that never came
    │   └── CaptureError         a raw capture that cannot be read back
    ├── CodecError               a Kafka record that is no tick batch
    ├── PriceRangeError          a price or size outside what travels exactly
    ├── StorageError             QuestDB refused, or holds what it should not
    ├── RuleError                a rule file that is refused, with file, line and fix
    │   └── TapeError            ... a rule's tape, or the signals expected over it
    ├── CalibrationError         calibrations of pairs that cannot be used
    ├── BuilderError             a rule that the Python builder cannot write as SQL
    └── ExecutionError           orders and risk
        ├── OrderStateError      a transition that FIX does not know
        ├── JournalError         the order journal cannot be read or written
        │   └── FencedError      ... because another agent has taken over
        ├── LimitsError          a limits file that is refused whole
        ├── ControlError         an operator's command that cannot be given, or carried out
        ├── DestinationsError    a destinations file that is refused whole, or leads nowhere
        └── RoutingError         a routing file that is refused whole

An error carries its evidence as attributes and its message ends with what to do next.
"""

from __future__ import annotations


class TickloomError(Exception):
    """Root of all errors raised on purpose. The command line prints it without a traceback."""


class SettingsError(TickloomError):
    """A settings file or an environment variable that cannot be used."""


class SetupError(TickloomError):
    """A piece of the set-up is missing or wrong."""


class ServiceError(TickloomError):
    """A server of the stack is not there, or answers wrongly."""


class ClientLostError(ServiceError):
    """A server is there, but its client has to be made anew: begin again from what the server has."""


class ServiceTimeout(ServiceError):
    """A server did not become healthy in the time it was given."""


class FeedError(TickloomError):
    """What came on the wire cannot be trusted."""


class DecodeError(FeedError):
    """Bytes that are no message of the protocol.

    Attributes
    ----------
    venue, reason : str
    offset : int
        Byte offset of the offending message inside its packet or file; -1 if unknown.
    """

    def __init__(self, venue: str, reason: str, offset: int = -1) -> None:
        self.venue, self.reason, self.offset = venue, reason, offset
        where = f" at byte {offset}" if offset >= 0 else ""
        super().__init__(f"{venue}: {reason}{where}")


class FieldError(DecodeError):
    """A field of a FIX message that is missing, or whose value is none of its type.

    Attributes
    ----------
    tag : int
    """

    def __init__(self, tag: int, reason: str) -> None:
        self.tag = tag
        super().__init__("fix", f"field {tag} {reason}")


class TruncatedMessage(DecodeError):
    """An SBE message that says it is longer than the bytes that came.

    Attributes
    ----------
    needed, got : int
        Bytes from the start of the message: up to where it would go on, and how many there are.
    """

    def __init__(self, schema: str, message: str, what: str, needed: int, got: int) -> None:
        self.needed, self.got = needed, got
        super().__init__(
            schema,
            f"{message}: {what} needs {needed} bytes and there are {got}; the packet was cut off, or it is "
            "of a schema that is not compatible with this one",
            got,
        )


class UnknownTemplate(DecodeError):
    """An SBE message of a template, or of a schema, that is not the one it was decoded with.

    Attributes
    ----------
    template_id, schema_id, version : int
        As the message's header has them.
    """

    def __init__(self, schema: str, template_id: int, schema_id: int, version: int) -> None:
        self.template_id, self.schema_id, self.version = template_id, schema_id, version
        super().__init__(
            schema,
            f"no template {template_id} of schema {schema_id} (version {version}); skip the message by its "
            "framed size, or load the schema of that version",
        )


class SchemaError(FeedError):
    """An SBE schema that cannot be compiled.

    Attributes
    ----------
    where, reason : str
        The element, as a path of names, and what is wrong with it.
    """

    def __init__(self, where: str, reason: str) -> None:
        self.where, self.reason = where, reason
        super().__init__(f"SBE schema, {where}: {reason}")


class SequenceGap(FeedError):
    """Messages ``expected`` up to, not including, ``received`` never came."""

    def __init__(self, venue: str, expected: int, received: int) -> None:
        self.venue, self.expected, self.received = venue, expected, received
        super().__init__(
            f"{venue}: messages {expected} to {received - 1} are missing "
            f"({received - expected} in all); the books that they touched are not trusted until a snapshot"
        )


class CaptureError(FeedError):
    """A raw capture that cannot be read back."""


class CodecError(TickloomError):
    """A Kafka record that is no tick batch of this schema version."""


class PriceRangeError(TickloomError):
    """A price or size that would change on its way through a double; see :mod:`tickloom.prices`."""


class StorageError(TickloomError):
    """QuestDB refused a statement or a batch, or holds what it should not."""


class RuleError(TickloomError):
    """A rule file that is refused.

    Attributes
    ----------
    path : str
        The rule file.
    line : int
        1-based line of the finding; 0 where it is about the whole file.
    reason, fix : str
        What is wrong, and what to write instead.
    """

    def __init__(self, path: str, line: int, reason: str, fix: str) -> None:
        self.path, self.line, self.reason, self.fix = path, line, reason, fix
        where = f"{path}:{line}" if line else path
        super().__init__(f"{where}: {reason}. Fix: {fix}")


class TapeError(RuleError):
    """A tape of a rule, or the file of signals that are expected over it, which cannot be used."""


class CalibrationError(TickloomError):
    """Calibrations of pairs, or prices to calibrate over, that cannot be used."""


class BuilderError(TickloomError):
    """A rule that the Python builder cannot write as SQL, or whose expressions do not fit together."""


class ExecutionError(TickloomError):
    """Orders and risk."""


class OrderStateError(ExecutionError):
    """A transition between order states that FIX does not know."""


class JournalError(ExecutionError):
    """The order journal cannot be read or written. No order leaves without it."""


class LimitsError(ExecutionError):
    """A limits file that is refused whole."""


class ControlError(ExecutionError):
    """An operator's command that cannot be given to the agent, or that it cannot carry out."""


class FencedError(JournalError):
    """Another agent has taken over: this one may not write, and may not send, any more."""


class DestinationsError(ExecutionError):
    """A destinations file that is refused whole, or a gateway whose other end is not there."""


class RoutingError(ExecutionError):
    """A routing file that is refused whole."""
