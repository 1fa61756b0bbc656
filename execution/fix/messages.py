"""Which fields a FIX message may and must have, of the messages that sessions and orders need.

Facts of *FIX 4.4 with Errata 20030618*, Volumes 2 (session) and 4 (orders), and of *FIX 4.2 with Errata
20010501*. ``11!`` is a required field, ``78[79 80]`` a repeating group with its members, the first of
which begins an instance, ``<Instrument>`` a component block. What concerns legs, underlyings,
stipulations, financing and yields is left out: a message that has it is rejected (SessionRejectReason
2), as venues for shares and coins do.
"""

from __future__ import annotations

HEADER_44 = (
    "8! 9! 35! 49! 56! 115 128 90 91 34! 50 142 57 143 116 144 129 145 43 97 52! 122 212 213 347 369 "
    "627[628 629 630]"
)
TRAILER_44 = "93 89 10!"
#: Tags that 4.4 defines at all; any other below 5000 is an invalid tag number.
DEFINED_44 = (
    "1-19 21-23 25-45 48-50 52-75 77-85 87-91 93-100 102-104 106-108 110-124 126-165 167-172 188-203 "
    "206-218 220-260 262-313 315-318 320-369 371-438 441-448 451-464 466-652 654-684 686-808 810-830 "
    "832-956"
)
BLOCKS_44: dict[str, str] = {
    "Parties": "453[448 447 452 802[523 803]]",
    "Instrument": (
        "55 65 48 22 454[455 456] 460 461 167 762 200 541 201 224 225 239 226 227 228 255 543 470 471 "
        "472 240 202 947 206 231 223 207 106 348 349 107 350 351 691 667 875 876 873 874"
    ),
    "OrderQtyData": "38 152 516 468 469",
    "PegInstructions": "211 835 836 837 838 840",
    "DiscretionInstructions": "388 389 841 842 843 844 846",
    "CommissionData": "12 13 479 497",
}

MESSAGES_44: dict[str, str] = {
    # Heartbeat
    "0": "112",
    # TestRequest
    "1": "112!",
    # ResendRequest
    "2": "7! 16!",
    # Reject
    "3": "45! 371 372 373 58 354 355",
    # SequenceReset
    "4": "123 36!",
    # Logout
    "5": "58 354 355",
    # ExecutionReport
    "8": (
        "37! 198 526 527 11 41 583 693 790 584 911 912 <Parties> 229 382[375 337 437 438 655] 66 548 "
        "551 549 17! 19 150! 39! 636 103 378 1 660 581 589 590 591 63 64 544 635 <Instrument> 54! 854 "
        "<OrderQtyData> 40 423 44 99 <PegInstructions> <DiscretionInstructions> 839 845 847 848 849 "
        "850 15 376 377 59 168 432 126 18 528 529 582 32 652 31 651 669 194 195 30 336 625 943 29 "
        "151! 14! 6! 424 425 426 427 75 60 113 <CommissionData> 381 157 230 158 159 738 920 921 922 "
        "258 259 260 238 237 118 119 120 155 156 21 110 111 77 210 775 58 354 355 193 192 641 442 480 "
        "481 513 494 483 515 484 485 638 639 851 797 136[137 138 139 891]"
    ),
    # OrderCancelReject
    "9": "37! 198 526 11! 583 41! 39! 636 586 66 1 660 581 229 75 60 434! 102 58 354 355",
    # Logon
    "A": "98! 108! 95 96 141 789 383 384[372 385] 464 553 554",
    # NewOrderSingle
    "D": (
        "11! 526 583 <Parties> 229 75 1 660 581 589 590 591 70 78[79 661 736 467 80] 63 64 544 635 21 "
        "18 110 111 100 386[336 625] 81 <Instrument> 140 54! 114 60! 854 <OrderQtyData> 40! 423 44 99 "
        "15 376 377 23 117 59 168 432 126 427 <CommissionData> 528 529 582 121 120 775 58 354 355 193 "
        "192 640 77 203 210 <PegInstructions> <DiscretionInstructions> 847 848 849 480 481 513 494"
    ),
    # OrderCancelRequest
    "F": ("41! 37 11! 526 583 66 586 1 660 581 <Parties> <Instrument> 54! 60! <OrderQtyData> 376 58 354 355"),
    # OrderCancelReplaceRequest
    "G": (
        "37 <Parties> 229 75 41! 11! 526 583 66 586 1 660 581 589 590 591 70 78[79 661 736 467 80] 63 "
        "64 544 635 21 18 110 111 100 386[336 625] <Instrument> 54! 60! 854 <OrderQtyData> 40! 423 44 "
        "99 <PegInstructions> <DiscretionInstructions> 847 848 849 376 377 15 59 168 432 126 427 "
        "<CommissionData> 528 529 582 121 120 775 58 354 355 193 192 640 77 203 210 114 480 481 513 "
        "494"
    ),
    # OrderStatusRequest
    "H": "37 11! 526 583 <Parties> 790 1 660 <Instrument> 54!",
    # DontKnowTrade
    "Q": "37! 198 17! 127! <Instrument> 54! <OrderQtyData> 32 31 58 354 355",
    # SecurityDefinition
    "d": "320! 322! 323! <Instrument> 15 336 625 58 354 355 827 561 562",
    # BusinessMessageReject
    "j": "45 372! 379 380! 58 354 355",
    # OrderMassCancelRequest
    "q": "11! 526 530! 336 625 <Instrument> 54 60! 58 354 355",
    # OrderMassCancelReport
    "r": "11 526 37! 198 530! 531! 532 533 534[41 535 536] 336 625 <Instrument> 54 60 58 354 355",
    # OrderMassStatusRequest
    "AF": "584! 585! <Parties> 1 660 336 625 <Instrument> 54",
}

HEADER_42 = (
    "8! 9! 35! 49! 56! 115 128 90 91 34! 50 142 57 143 116 144 129 145 43 97 52! 122 212 213 347 369 370"
)
TRAILER_42 = "93 89 10!"
DEFINED_42 = "1-100 102-219 223 231 262-446"
BLOCKS_42: dict[str, str] = {
    "Instrument": "55! 65 48 22 167 200 205 201 202 206 231 223 207 106 348 349 107 350 351",
}

MESSAGES_42: dict[str, str] = {
    # Heartbeat
    "0": "112",
    # TestRequest
    "1": "112!",
    # ResendRequest
    "2": "7! 16!",
    # Reject
    "3": "45! 371 372 373 58 354 355",
    # SequenceReset
    "4": "123 36!",
    # Logout
    "5": "58 354 355",
    # ExecutionReport
    "8": (
        "37! 198 11 41 109 76 382[375 337 437 438] 66 17! 20! 19 150! 39! 103 378 1 63 64 "
        "<Instrument> 54! 38 152 40 44 99 211 388 389 15 376 377 59 168 432 126 18 47 32 31 194 195 "
        "30 336 29 151! 14! 6! 424 425 426 427 75 60 113 12 13 381 119 120 155 156 21 110 111 77 210 "
        "58 354 355 193 192 439 440 442"
    ),
    # OrderCancelReject
    "9": "37! 198 11! 41! 39! 109 76 66 1 60 434! 102 58 354 355",
    # Logon
    "A": "98! 108! 95 96 141 383 384[372 385]",
    # NewOrderSingle
    "D": (
        "11! 109 76 1 78[79 80] 63 64 21! 18 110 111 100 386[336] 81 <Instrument> 140 54! 114 60! 38 "
        "152 40! 44 99 15 376 377 23 117 59 168 432 126 427 12 13 47 121 120 58 354 355 193 192 77 "
        "203 204 210 211 388 389 439 440"
    ),
    # OrderCancelRequest
    "F": "41! 37 11! 66 1 109 76 <Instrument> 54! 60! 38 152 376 377 58 354 355",
    # OrderCancelReplaceRequest
    "G": (
        "37 109 76 41! 11! 66 1 78[79 80] 63 64 21! 18 110 111 100 386[336] <Instrument> 54! 60! 38 "
        "152 40! 44 99 211 388 389 376 377 15 59 168 432 126 427 12 13 47 121 120 58 354 355 193 192 "
        "77 203 204 210 114 439 440"
    ),
    # OrderStatusRequest
    "H": "37 11! 109 1 76 <Instrument> 54!",
    # DontKnowTrade
    "Q": "37! 17! 127! <Instrument> 54! 38 152 32 31 58 354 355",
    # BusinessMessageReject
    "j": "45 372! 379 380! 58 354 355",
}
