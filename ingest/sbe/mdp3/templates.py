"""The MDP 3.0 core templates as a table of facts, which :mod:`ingest.sbe.mdp3.schema` compiles.

Fields are ``name:type`` in wire order, one behind the other, ``+N`` where version N brought the field.
Layouts of schema versions 9 (2018) to 13 (2023): later versions only added fields at the end of blocks or in
padding, which the version tells apart.

The kernels freeze these facts when they are compiled (njit), so this file is a part of their cache's key.

Source: CME Group, MDP 3.0 core schema (schema id 1, little-endian), and "SBE Technical Headers".
"""

from __future__ import annotations

SCHEMA_ID, VERSION = 1, 13
VERSIONS = range(9, VERSION + 1)

CHANNEL_RESET, HEARTBEAT, SECURITY_STATUS = 4, 12, 30
VOLUME, BOOK, ORDER_BOOK, TRADE_SUMMARY = 37, 46, 47, 48
DAILY_STATISTICS, LIMITS_BANDING, SESSION_STATISTICS = 49, 50, 51
SNAPSHOT, SNAPSHOT_ORDER_BOOK = 52, 53
FUTURE, OPTION, SPREAD = 54, 55, 56
BOOK_LONG, TRADE_SUMMARY_LONG, VOLUME_LONG, SESSION_STATISTICS_LONG, SNAPSHOT_LONG = 64, 65, 66, 67, 69

I4_NULL, I1_NULL, I8_NULL = 2**31 - 1, 2**7 - 1, 2**63 - 1
#: Types by our names: primitive, length, null value (None: required).
SIMPLE: dict[str, tuple[str, int, int | None]] = {
    "i1": ("int8", 1, None),
    "i2": ("int16", 1, None),
    "i4": ("int32", 1, None),
    "u1": ("uint8", 1, None),
    "u4": ("uint32", 1, None),
    "u8": ("uint64", 1, None),
    "i1?": ("int8", 1, I1_NULL),
    "i4?": ("int32", 1, I4_NULL),
    "u1?": ("uint8", 1, 2**8 - 1),
    "u4?": ("uint32", 1, 2**32 - 1),
    "u8?": ("uint64", 1, 2**64 - 1),
    "date?": ("uint16", 1, 2**16 - 1),
    "c": ("char", 1, None),
    **{f"c{size}": ("char", size, None) for size in (3, 4, 5, 6, 20, 30, 35)},
}
#: Decimals: primitive of the mantissa, its null value, exponent.
DECIMALS: dict[str, tuple[str, int | None, int]] = {
    "px": ("int64", None, -9),
    "px?": ("int64", I8_NULL, -9),
    "qty4?": ("int32", I4_NULL, -4),
}
ENUMS: dict[str, tuple[str, str]] = {
    "action": ("u1", "New=0 Change=1 Delete=2 DeleteThru=3 DeleteFrom=4 Overlay=5"),
    "entry": (
        "c",
        "Bid=0 Offer=1 Trade=2 Open=4 Settlement=6 High=7 Low=8 Vwap=9 ClearedVolume=B OpenInterest=C "
        "ImpliedBid=E ImpliedOffer=F BookReset=J HighestBid=N LowestOffer=O Fixing=W ElectronicVolume=e "
        "Limits=g",
    ),
    "aggressor": ("u1?", "None=0 Buy=1 Sell=2"),
    "order_action": ("u1", "New=0 Update=1 Delete=2"),
    "open_close": ("u1?", "DailyOpen=0 IndicativeOpening=5"),
    "trading": (
        "u1?",
        "Halt=2 Close=4 NewPriceIndication=15 ReadyToTrade=17 NotAvailable=18 Unknown=20 PreOpen=21 "
        "PreCross=24 Cross=25 PostClose=26 NoChange=103",
    ),
    "halt": (
        "u1",
        "GroupSchedule=0 Surveillance=1 MarketEvent=2 Activation=3 Expiration=4 Unknown=5 Recovery=6 "
        "DateRoll=7",
    ),
    "event": ("u1", "None=0 NoCancel=1 ResetStatistics=4 ImpliedOn=5 ImpliedOff=6"),
    "update": ("c", "Add=A Delete=D Modify=M"),
    "put_call": ("u1", "Put=0 Call=1"),
    "leg_side": ("u1", "Buy=1 Sell=2"),
    "dated": ("u1", "Activation=5 LastTrade=7"),
}
SETS: dict[str, tuple[str, str]] = {
    "match": (
        "u1",
        "LastTrade=0 LastVolume=1 LastQuote=2 LastStatistics=3 LastImplied=4 Recovery=5 EndOfEvent=7",
    ),
    "settlement": ("u1", "FinalDaily=0 Actual=1 Rounded=2 Intraday=3"),
    "attributes": ("u4", ""),
}
_INCREMENTAL = "TransactTime:u8 MatchEventIndicator:match"
_ORDER_IDS = (
    "NoOrderIDEntries/8 24",
    "OrderID:u8 MDOrderPriority:u8? MDDisplayQty:i4? ReferenceID:u1? OrderUpdateAction:order_action",
)
_TRADE_ORDER_IDS = ("NoOrderIDEntries/8 16", "OrderID:u8 LastQty:i4")
_SNAPSHOT = (
    "LastMsgSeqNumProcessed:u4 TotNumReports:u4 SecurityID:i4 RptSeq:u4 TransactTime:u8 LastUpdateTime:u8 "
    "TradeDate:date? MDSecurityTradingStatus:trading HighLimitPrice:px? LowLimitPrice:px? "
    "MaxPriceVariation:px?"
)
_DEFINITION = (
    "MatchEventIndicator:match TotNumReports:u4? SecurityUpdateAction:update LastUpdateTime:u8 "
    "MDSecurityTradingStatus:trading ApplID:i2 MarketSegmentID:u1 UnderlyingProduct:u1? SecurityExchange:c4 "
    "SecurityGroup:c6 Asset:c6 Symbol:c20 SecurityID:i4 SecurityType:c6 CFICode:c6 "
)
_DEFINITION_GROUPS = (
    ("NoEvents 9", "EventType:dated EventTime:u8"),
    ("NoMDFeedTypes 4", "MDFeedType:c3 MarketDepth:i1"),
    ("NoInstAttrib 4", "InstAttribValue:attributes"),
    ("NoLotTypeRules 5", "LotType:i1 MinLotSize:qty4?"),
)
Groups = tuple[tuple[str, str], ...]
#: Template id: name, blockLength, fields of the root, groups. A group's head: name, ``/8`` where its
#: dimension has eight bytes, blockLength.
TEMPLATES: dict[int, tuple[str, int, str, Groups]] = {
    CHANNEL_RESET: ("ChannelReset", 9, _INCREMENTAL, (("NoMDEntries 2", "ApplID:i2"),)),
    HEARTBEAT: ("AdminHeartbeat", 0, "", ()),
    SECURITY_STATUS: (
        "SecurityStatus",
        30,
        "TransactTime:u8 SecurityGroup:c6 Asset:c6 SecurityID:i4? TradeDate:date? MatchEventIndicator:match "
        "SecurityTradingStatus:trading HaltReason:halt SecurityTradingEvent:event",
        (),
    ),
    VOLUME: (
        "MDIncrementalRefreshVolume",
        11,
        _INCREMENTAL,
        (("NoMDEntries 16", "MDEntrySize:i4 SecurityID:i4 RptSeq:u4 MDUpdateAction:action"),),
    ),
    BOOK: (
        "MDIncrementalRefreshBook",
        11,
        _INCREMENTAL,
        (
            (
                "NoMDEntries 32",
                "MDEntryPx:px? MDEntrySize:i4? SecurityID:i4 RptSeq:u4 NumberOfOrders:i4? MDPriceLevel:u1 "
                "MDUpdateAction:action MDEntryType:entry TradeableSize:i4?+10",
            ),
            _ORDER_IDS,
        ),
    ),
    ORDER_BOOK: (
        "MDIncrementalRefreshOrderBook",
        11,
        _INCREMENTAL,
        (
            (
                "NoMDEntries 40",
                "OrderID:u8? MDOrderPriority:u8? MDEntryPx:px? MDDisplayQty:i4? SecurityID:i4 "
                "MDUpdateAction:action MDEntryType:entry",
            ),
        ),
    ),
    TRADE_SUMMARY: (
        "MDIncrementalRefreshTradeSummary",
        11,
        _INCREMENTAL,
        (
            (
                "NoMDEntries 32",
                "MDEntryPx:px MDEntrySize:i4 SecurityID:i4 RptSeq:u4 NumberOfOrders:i4 "
                "AggressorSide:aggressor "
                "MDUpdateAction:action MDTradeEntryID:u4?",
            ),
            _TRADE_ORDER_IDS,
        ),
    ),
    DAILY_STATISTICS: (
        "MDIncrementalRefreshDailyStatistics",
        11,
        _INCREMENTAL,
        (
            (
                "NoMDEntries 32",
                "MDEntryPx:px? MDEntrySize:i4? SecurityID:i4 RptSeq:u4 TradingReferenceDate:date? "
                "SettlPriceType:settlement MDUpdateAction:action MDEntryType:entry",
            ),
        ),
    ),
    LIMITS_BANDING: (
        "MDIncrementalRefreshLimitsBanding",
        11,
        _INCREMENTAL,
        (
            (
                "NoMDEntries 32",
                "HighLimitPrice:px? LowLimitPrice:px? MaxPriceVariation:px? SecurityID:i4 RptSeq:u4",
            ),
        ),
    ),
    SESSION_STATISTICS: (
        "MDIncrementalRefreshSessionStatistics",
        11,
        _INCREMENTAL,
        (
            (
                "NoMDEntries 24",
                "MDEntryPx:px SecurityID:i4 RptSeq:u4 OpenCloseSettlFlag:open_close MDUpdateAction:action "
                "MDEntryType:entry MDEntrySize:i4?",
            ),
        ),
    ),
    SNAPSHOT: (
        "SnapshotFullRefresh",
        59,
        _SNAPSHOT,
        (
            (
                "NoMDEntries 22",
                "MDEntryPx:px? MDEntrySize:i4? NumberOfOrders:i4? MDPriceLevel:i1? "
                "TradingReferenceDate:date? "
                "OpenCloseSettlFlag:open_close SettlPriceType:settlement MDEntryType:entry",
            ),
        ),
    ),
    SNAPSHOT_ORDER_BOOK: (
        "SnapshotFullRefreshOrderBook",
        28,
        "LastMsgSeqNumProcessed:u4 TotNumReports:u4 SecurityID:i4 NoChunks:u4 CurrentChunk:u4 "
        "TransactTime:u8",
        (
            (
                "NoMDEntries 29",
                "OrderID:u8 MDOrderPriority:u8? MDEntryPx:px MDDisplayQty:i4 MDEntryType:entry",
            ),
        ),
    ),
    FUTURE: (
        "MDInstrumentDefinitionFuture",
        224,
        _DEFINITION + "MaturityMonthYear:month Currency:c3 SettlCurrency:c3 MatchAlgorithm:c MinTradeVol:u4 "
        "MaxTradeVol:u4 MinPriceIncrement:px DisplayFactor:px MainFraction:u1? SubFraction:u1? "
        "PriceDisplayFormat:u1? UnitOfMeasure:c30 UnitOfMeasureQty:px? TradingReferencePrice:px? "
        "SettlPriceType:settlement OpenInterestQty:i4? ClearedVolume:i4? HighLimitPrice:px? "
        "LowLimitPrice:px? "
        "MaxPriceVariation:px? DecayQuantity:i4? DecayStartDate:date? OriginalContractSize:i4? "
        "ContractMultiplier:i4? ContractMultiplierUnit:i1? FlowScheduleType:i1? MinPriceIncrementAmount:px? "
        "UserDefinedInstrument:c TradingReferenceDate:date? InstrumentGUID:u8?+10",
        _DEFINITION_GROUPS,
    ),
    OPTION: (
        "MDInstrumentDefinitionOption",
        221,
        _DEFINITION
        + "PutOrCall:put_call MaturityMonthYear:month Currency:c3 StrikePrice:px? StrikeCurrency:c3 "
        "SettlCurrency:c3 MinCabPrice:px? MatchAlgorithm:c MinTradeVol:u4 MaxTradeVol:u4 "
        "MinPriceIncrement:px? "
        "MinPriceIncrementAmount:px? DisplayFactor:px TickRule:i1? MainFraction:u1? SubFraction:u1? "
        "PriceDisplayFormat:u1? UnitOfMeasure:c30 UnitOfMeasureQty:px? TradingReferencePrice:px? "
        "SettlPriceType:settlement ClearedVolume:i4? OpenInterestQty:i4? LowLimitPrice:px? "
        "HighLimitPrice:px? "
        "UserDefinedInstrument:c TradingReferenceDate:date? InstrumentGUID:u8?+10",
        (
            *_DEFINITION_GROUPS,
            ("NoUnderlyings 24", "UnderlyingSecurityID:i4 UnderlyingSymbol:c20"),
            ("NoRelatedInstruments 24", "RelatedSecurityID:i4 RelatedSymbol:c20"),
        ),
    ),
    SPREAD: (
        "MDInstrumentDefinitionSpread",
        255,
        _DEFINITION + "MaturityMonthYear:month Currency:c3 SecuritySubType:c5 UserDefinedInstrument:c "
        "MatchAlgorithm:c MinTradeVol:u4 MaxTradeVol:u4 MinPriceIncrement:px? DisplayFactor:px "
        "PriceDisplayFormat:u1? PriceRatio:px? TickRule:i1? UnitOfMeasure:c30 TradingReferencePrice:px? "
        "SettlPriceType:settlement OpenInterestQty:i4? ClearedVolume:i4? HighLimitPrice:px? "
        "LowLimitPrice:px? "
        "MaxPriceVariation:px? MainFraction:u1? SubFraction:u1? TradingReferenceDate:date? "
        "PriceQuoteMethod:c5+10 RiskSet:c6+10 MarketSet:c6+10 InstrumentGUID:u8?+10 "
        "FinancialInstrumentFullName:c35+10",
        (
            *_DEFINITION_GROUPS,
            (
                "NoLegs 18",
                "LegSecurityID:i4 LegSide:leg_side LegRatioQty:i1 LegPrice:px? LegOptionDelta:qty4?",
            ),
        ),
    ),
    BOOK_LONG: (
        "MDIncrementalRefreshBookLongQty",
        11,
        _INCREMENTAL,
        (
            (
                "NoMDEntries 32",
                "MDEntryPx:px? MDEntrySize:u8? SecurityID:i4 RptSeq:u4 NumberOfOrders:i4? MDPriceLevel:u1 "
                "MDUpdateAction:action MDEntryType:entry",
            ),
            _ORDER_IDS,
        ),
    ),
    TRADE_SUMMARY_LONG: (
        "MDIncrementalRefreshTradeSummaryLongQty",
        11,
        _INCREMENTAL,
        (
            (
                "NoMDEntries 40",
                "MDEntryPx:px MDEntrySize:u8 SecurityID:i4 RptSeq:u4 NumberOfOrders:i4 MDTradeEntryID:u4 "
                "AggressorSide:aggressor MDUpdateAction:action",
            ),
            _TRADE_ORDER_IDS,
        ),
    ),
    VOLUME_LONG: (
        "MDIncrementalRefreshVolumeLongQty",
        11,
        _INCREMENTAL,
        (("NoMDEntries 24", "MDEntrySize:u8 SecurityID:i4 RptSeq:u4 MDUpdateAction:action"),),
    ),
    SESSION_STATISTICS_LONG: (
        "MDIncrementalRefreshSessionStatisticsLongQty",
        11,
        _INCREMENTAL,
        (
            (
                "NoMDEntries 32",
                "MDEntryPx:px MDEntrySize:u8? SecurityID:i4 RptSeq:u4 OpenCloseSettlFlag:open_close "
                "MDUpdateAction:action MDEntryType:entry",
            ),
        ),
    ),
    SNAPSHOT_LONG: (
        "SnapshotFullRefreshLongQty",
        59,
        _SNAPSHOT,
        (
            (
                "NoMDEntries 23",
                "MDEntryPx:px? MDEntrySize:u8? NumberOfOrders:i4? MDPriceLevel:u1? "
                "OpenCloseSettlFlag:open_close "
                "MDEntryType:entry",
            ),
        ),
    ),
}
