"""FIX's fields, as far as sessions and the flow of orders need them: tag, name, type, enumerated values.

Facts of *FIX 4.4 with Errata 20030618*, Volume 6, "Field Definitions", and of *FIX 4.2 with Errata
20010501*, "Field Definitions". A line of :data:`FIELDS` is ``tag:name`` under the type; names are those
of 4.4, where the versions differ (LastQty, not LastShares). Tests hold the tables against a published
dictionary.
"""

from __future__ import annotations

FIELDS: dict[str, str] = {
    "STRING": (
        "1:Account 8:BeginString 10:CheckSum 11:ClOrdID 17:ExecID 19:ExecRefID 22:SecurityIDSource "
        "23:IOIID 35:MsgType 37:OrderID 41:OrigClOrdID 48:SecurityID 49:SenderCompID 50:SenderSubID "
        "55:Symbol 56:TargetCompID 57:TargetSubID 58:Text 65:SymbolSfx 66:ListID 70:AllocID "
        "79:AllocAccount 106:Issuer 107:SecurityDesc 112:TestReqID 115:OnBehalfOfCompID "
        "116:OnBehalfOfSubID 117:QuoteID 128:DeliverToCompID 129:DeliverToSubID 139:MiscFeeType "
        "142:SenderLocationID 143:TargetLocationID 144:OnBehalfOfLocationID 145:DeliverToLocationID "
        "167:SecurityType 198:SecondaryOrderID 239:RepoCollateralSecurityType 255:CreditRating "
        "320:SecurityReqID 322:SecurityResponseID 336:TradingSessionID 337:ContraTrader "
        "347:MessageEncoding 372:RefMsgType 375:ContraBroker 376:ComplianceID 379:BusinessRejectRefID "
        "448:PartyID 455:SecurityAltID 456:SecurityAltIDSource 461:CFICode 467:IndividualAllocID "
        "471:StateOrProvinceOfIssue 472:LocaleOfIssue 494:Designation 513:RegistID 523:PartySubID "
        "526:SecondaryClOrdID 527:SecondaryExecID 532:MassCancelRejectReason 535:AffectedOrderID "
        "536:AffectedSecondaryOrderID 543:InstrRegistry 548:CrossID 551:OrigCrossID 553:Username "
        "554:Password 583:ClOrdLinkID 584:MassStatusReqID 625:TradingSessionSubID 628:HopCompID "
        "635:ClearingFeeIndicator 655:ContraLegRefID 691:Pool 693:QuoteRespID 762:SecuritySubType "
        "790:OrdStatusReqID 848:TargetStrategyParameters 876:CPRegType 943:TimeBracket"
    ),
    "PRICE": (
        "6:AvgPx 31:LastPx 44:Price 99:StopPx 140:PrevClosePx 194:LastSpotRate 202:StrikePrice "
        "260:BasisFeaturePrice 426:DayAvgPx 640:Price2 651:UnderlyingLastPx 669:LastParPx "
        "839:PeggedPrice 845:DiscretionPrice"
    ),
    "SEQNUM": (
        "7:BeginSeqNo 16:EndSeqNo 34:MsgSeqNum 36:NewSeqNo 45:RefSeqNum 369:LastMsgSeqNumProcessed "
        "630:HopRefID 789:NextExpectedMsgSeqNum"
    ),
    "LENGTH": (
        "9:BodyLength 90:SecureDataLen 93:SignatureLength 95:RawDataLength 212:XmlDataLen "
        "348:EncodedIssuerLen 350:EncodedSecurityDescLen 354:EncodedTextLen 383:MaxMessageSize"
    ),
    "AMT": (
        "12:Commission 118:NetMoney 119:SettlCurrAmt 137:MiscFeeAmt 159:AccruedInterestAmt "
        "237:TotalTakedown 238:Concession 381:GrossTradeAmt 738:InterestAtMaturity "
        "920:EndAccruedInterestAmt 921:StartCash 922:EndCash"
    ),
    "CHAR": (
        "13:CommType 21:HandlInst 29:LastCapacity 39:OrdStatus 40:OrdType 54:Side 59:TimeInForce "
        "63:SettlType 77:PositionEffect 81:ProcessCode 127:DKReason 150:ExecType "
        "156:SettlCurrFxRateCalc 206:OptAttribute 385:MsgDirection 388:DiscretionInst "
        "434:CxlRejResponseTo 442:MultiLegReportingType 447:PartyIDSource 468:RoundingDirection "
        "480:CancellationRights 481:MoneyLaunderingStatus 484:ExecPriceType 497:FundRenewWaiv "
        "528:OrderCapacity 530:MassCancelRequestType 531:MassCancelResponse 544:CashMargin "
        "589:DayBookingInst 590:BookingUnit 591:PreallocMethod"
    ),
    "QTY": (
        "14:CumQty 32:LastQty 38:OrderQty 80:AllocQty 110:MinQty 111:MaxFloor 151:LeavesQty "
        "152:CashOrderQty 192:OrderQty2 210:MaxShow 424:DayOrderQty 425:DayCumQty 437:ContraTradeQty "
        "561:RoundLot 562:MinTradeVol 652:UnderlyingLastQty"
    ),
    "CURRENCY": (
        "15:Currency 120:SettlCurrency 138:MiscFeeCurr 479:CommCurrency 736:AllocSettlCurrency "
        "947:StrikeCurrency"
    ),
    "MULTIPLEVALUESTRING": "18:ExecInst 529:OrderRestrictions",
    "EXCHANGE": "30:LastMkt 100:ExDestination 207:SecurityExchange",
    "BOOLEAN": (
        "43:PossDupFlag 97:PossResend 113:ReportToExch 114:LocateReqd 121:ForexReq 123:GapFillFlag "
        "141:ResetSeqNumFlag 258:TradedFlatSwitch 377:SolicitedFlag 464:TestMessageIndicator "
        "636:WorkingIndicator 797:CopyMsgIndicator 912:LastRptRequested"
    ),
    "UTCTIMESTAMP": (
        "52:SendingTime 60:TransactTime 122:OrigSendingTime 126:ExpireTime 168:EffectiveTime "
        "438:ContraTradeTime 483:TransBkdTime 515:ExecValuationPoint 586:OrigOrdModTime "
        "629:HopSendingTime"
    ),
    "LOCALMKTDATE": (
        "64:SettlDate 75:TradeDate 193:SettlDate2 224:CouponPaymentDate 225:IssueDate "
        "229:TradeOriginationDate 230:ExDate 240:RedemptionDate 259:BasisFeatureDate 432:ExpireDate "
        "541:MaturityDate 873:DatedDate 874:InterestAccrualDate"
    ),
    "NUMINGROUP": (
        "78:NoAllocs 136:NoMiscFees 382:NoContraBrokers 384:NoMsgTypes 386:NoTradingSessions "
        "453:NoPartyIDs 454:NoSecurityAltID 534:NoAffectedOrders 627:NoHops 802:NoPartySubIDs"
    ),
    "DATA": (
        "89:Signature 91:SecureData 96:RawData 213:XmlData 349:EncodedIssuer 351:EncodedSecurityDesc "
        "355:EncodedText"
    ),
    "INT": (
        "98:EncryptMethod 102:CxlRejReason 103:OrdRejReason 108:HeartBtInt 157:NumDaysInterest "
        "201:PutOrCall 203:CoveredOrUncovered 226:RepurchaseTerm 323:SecurityResponseType "
        "371:RefTagID 373:SessionRejectReason 378:ExecRestatementReason 380:BusinessRejectReason "
        "423:PriceType 427:GTBookingInst 452:PartyRole 460:Product 533:TotalAffectedOrders "
        "549:CrossType 581:AccountType 582:CustOrderCapacity 585:MassStatusReqType "
        "638:PriorityIndicator 660:AcctIDSource 661:AllocAcctIDSource 775:BookingType "
        "803:PartySubIDType 827:ExpirationCycle 835:PegMoveType 836:PegOffsetType 837:PegLimitType "
        "838:PegRoundDirection 840:PegScope 841:DiscretionMoveType 842:DiscretionOffsetType "
        "843:DiscretionLimitType 844:DiscretionRoundDirection 846:DiscretionScope 847:TargetStrategy "
        "851:LastLiquidityInd 854:QtyType 875:CPProgram 891:MiscFeeBasis 911:TotNumReports"
    ),
    "FLOAT": (
        "155:SettlCurrFxRate 211:PegOffsetValue 228:Factor 231:ContractMultiplier "
        "389:DiscretionOffsetValue 469:RoundingModulus 485:ExecPriceAdjustment "
        "850:TargetStrategyPerformance"
    ),
    "PERCENTAGE": (
        "158:AccruedInterestRate 223:CouponRate 227:RepurchaseRate 516:OrderPercent 849:ParticipationRate"
    ),
    "PRICEOFFSET": "195:LastForwardPoints 639:PriceImprovement 641:LastForwardPoints2",
    "MONTHYEAR": "200:MaturityMonthYear 667:ContractSettlMonth",
    "COUNTRY": "470:CountryOfIssue",
}

#: What 4.2 has besides, or has as another type.
FIELDS_42: dict[str, str] = {
    "CHAR": "20:ExecTransType 47:Rule80A",
    "STRING": "76:ExecBroker 109:ClientID 439:ClearingFirm 440:ClearingAccount",
    "INT": "204:CustomerOrFirm",
    "DAYOFMONTH": "205:MaturityDay",
    "PRICEOFFSET": "211:PegDifference 389:DiscretionOffset",
    "FLOAT": "223:CouponRate",
    "UTCTIMESTAMP": "370:OnBehalfOfSendingTime",
}

#: Values of FIX 4.4 by tag; Booleans (Y, N) are a type of their own.
ENUMERATIONS: dict[int, str] = {
    13: "1 2 3 4 5 6",
    18: "1 2 3 4 5 6 7 8 9 0 A B C D E F G H I J K L M N O P Q R S U V W X Y Z a b c d e",
    21: "1 2 3",
    22: "1 2 3 4 5 6 7 8 9 A B C D E F G H I J",
    29: "1 2 3 4",
    35: (
        "0 1 2 3 4 5 6 7 8 9 A B C D E F G H J K L M N P Q R S T V W X Y Z a b c d e f g h i j k l m "
        "n o p q r s t u v w x y z AA AB AC AD AE AF AG AH AI AJ AK AL AM AN AO AP AQ AR AS AT AU AV "
        "AW AX AY AZ BA BB BC BD BE BF BG BH"
    ),
    39: "0 1 2 3 4 6 7 8 9 A B C D E",
    40: "1 2 3 4 6 7 8 9 D E G I J K L M P",
    54: "1 2 3 4 5 6 7 8 9 A B C D E F G",
    59: "0 1 2 3 4 5 6 7",
    63: "0 1 2 3 4 5 6 7 8 9",
    77: "O C R F",
    81: "0 1 2 3 4 5 6",
    98: "0 1 2 3 4 5 6",
    102: "0 1 2 3 4 5 6 99",
    103: "0 1 2 3 4 5 6 7 8 9 10 11 13 14 15 99",
    127: "A B C D E F Z",
    139: "1 2 3 4 5 6 7 8 9 10 11 12",
    150: "0 3 4 5 6 7 8 9 A B C D E F G H I",
    156: "M D",
    167: (
        "EUSUPRA FAC FADN PEF SUPRA CORP CPP CB DUAL EUCORP XLINKD STRUCT YANK FOR CS PS BRADY EUSOV "
        "TBOND TINT TIPS TCAL TPRN UST USTB TNOTE TBILL REPO FORWARD BUYSELL SECLOAN SECPLEDGE TERM "
        "RVLV RVLVTRM BRIDGE LOFC SWING DINP DEFLTED WITHDRN REPLACD MATURED AMENDED RETIRED BA BN "
        "BOX CD CL CP DN EUCD EUCP LQN MTN ONITE PN PZFJ STN TD XCN YCD ABS CMBS CMO IET MBS MIO MPO "
        "MPP MPT PFAND TBA AN COFO COFP GO MT RAN REV SPCLA SPCLO SPCLT TAN TAXA TECP TRAN VRDN WAR "
        "MF MLEG NONE FUT OPT"
    ),
    201: "0 1",
    203: "0 1",
    323: "1 2 5 6",
    347: "ISO-2022-JP EUC-JP Shift_JIS UTF-8",
    373: "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 99",
    378: "0 1 2 3 4 5 6 7 8 9 10 99",
    380: "0 1 2 3 4 5 6 7",
    385: "S R",
    388: "0 1 2 3 4 5 6",
    423: "1 2 3 4 5 6 7 8 9 10 11",
    427: "0 1 2",
    434: "1 2",
    442: "1 2 3",
    447: "B C D E F G H 1 2 3 4 5 6 7 8 9 A I",
    452: (
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 24 25 26 27 28 29 30 31 32 33 34 35 "
        "36 37 38"
    ),
    460: "1 2 3 4 5 6 7 8 9 10 11 12 13",
    468: "0 1 2",
    480: "Y N M O",
    481: "Y N 1 2 3",
    484: "B C D E O P Q S",
    497: "Y N",
    528: "A G I P R W",
    529: "1 2 3 4 5 6 7 8 9 A",
    530: "1 2 3 4 5 6 7",
    531: "0 1 2 3 4 5 6 7",
    532: "0 1 2 3 4 5 6 99",
    544: "1 2 3",
    549: "1 2 3 4",
    581: "1 2 3 4 6 7 8",
    582: "1 2 3 4",
    585: "1 2 3 4 5 6 7 8",
    589: "0 1 2",
    590: "0 1 2",
    591: "0 1",
    635: "B C E F H I L M 1 2 3 4 5 9",
    638: "0 1",
    660: "1 2 3 4 5 99",
    775: "0 1 2",
    803: "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26",
    827: "0 1",
    835: "0 1",
    836: "0 1 2 3",
    837: "0 1 2",
    838: "1 2",
    840: "1 2 3 4",
    841: "0 1",
    842: "0 1 2 3",
    843: "0 1 2",
    844: "1 2",
    846: "1 2 3 4",
    847: "1 2 3",
    851: "1 2 3",
    854: "0 1",
    875: "1 2 99",
    891: "0 1 2",
}

#: Where the values of 4.2 are others.
ENUMERATIONS_42: dict[int, str] = {
    13: "1 2 3",
    18: "0 1 2 3 4 5 6 7 8 9 A B C D E F G I L M N O P R S T U V W",
    20: "0 1 2 3",
    22: "1 2 3 4 5 6 7 8 9",
    35: "0 1 2 3 4 5 6 7 8 9 A B C D E F G H J K L M N P Q R S T V W X Y Z a b c d e f g h i j k l m",
    39: "0 1 2 3 4 5 6 7 8 9 A B C D E",
    40: "1 2 3 4 5 6 7 8 9 A B C D E F G H I P",
    47: "A B C D E F H I J K L M N O P R S T U W X Y Z",
    54: "1 2 3 4 5 6 7 8 9",
    59: "0 1 2 3 4 5 6",
    77: "C O",
    102: "0 1 2 3",
    103: "0 1 2 3 4 5 6 7 8",
    127: "A B C D E Z",
    150: "0 1 2 3 4 5 6 7 8 9 A B C D E",
    167: (
        "? BA CB CD CMO CORP CP CPP CS FHA FHL FN FOR FUT GN GOVT IET MF MIO MPO MPP MPT MUNI NONE "
        "OPT PS RP RVRP SL TD USTB WAR ZOO"
    ),
    204: "0 1",
    373: "0 1 10 11 2 3 4 5 6 7 8 9",
    378: "0 1 2 3 4 5",
    380: "0 1 2 3 4 5",
    388: "0 1 2 3 4 5",
}
