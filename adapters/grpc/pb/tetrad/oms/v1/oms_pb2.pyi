from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Side(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIDE_UNSPECIFIED: _ClassVar[Side]
    SIDE_BUY: _ClassVar[Side]
    SIDE_SELL: _ClassVar[Side]

class OrderType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_TYPE_UNSPECIFIED: _ClassVar[OrderType]
    ORDER_TYPE_MARKET: _ClassVar[OrderType]
    ORDER_TYPE_LIMIT: _ClassVar[OrderType]
    ORDER_TYPE_STOP: _ClassVar[OrderType]
    ORDER_TYPE_STOP_LIMIT: _ClassVar[OrderType]
    ORDER_TYPE_TRAILING_STOP: _ClassVar[OrderType]

class TimeInForce(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIME_IN_FORCE_UNSPECIFIED: _ClassVar[TimeInForce]
    TIME_IN_FORCE_DAY: _ClassVar[TimeInForce]
    TIME_IN_FORCE_GTC: _ClassVar[TimeInForce]
    TIME_IN_FORCE_GTD: _ClassVar[TimeInForce]
    TIME_IN_FORCE_IOC: _ClassVar[TimeInForce]
    TIME_IN_FORCE_FOK: _ClassVar[TimeInForce]
    TIME_IN_FORCE_AT_THE_OPENING: _ClassVar[TimeInForce]
    TIME_IN_FORCE_AT_THE_CLOSE: _ClassVar[TimeInForce]

class Liquidity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIQUIDITY_UNSPECIFIED: _ClassVar[Liquidity]
    LIQUIDITY_MAKER: _ClassVar[Liquidity]
    LIQUIDITY_TAKER: _ClassVar[Liquidity]
SIDE_UNSPECIFIED: Side
SIDE_BUY: Side
SIDE_SELL: Side
ORDER_TYPE_UNSPECIFIED: OrderType
ORDER_TYPE_MARKET: OrderType
ORDER_TYPE_LIMIT: OrderType
ORDER_TYPE_STOP: OrderType
ORDER_TYPE_STOP_LIMIT: OrderType
ORDER_TYPE_TRAILING_STOP: OrderType
TIME_IN_FORCE_UNSPECIFIED: TimeInForce
TIME_IN_FORCE_DAY: TimeInForce
TIME_IN_FORCE_GTC: TimeInForce
TIME_IN_FORCE_GTD: TimeInForce
TIME_IN_FORCE_IOC: TimeInForce
TIME_IN_FORCE_FOK: TimeInForce
TIME_IN_FORCE_AT_THE_OPENING: TimeInForce
TIME_IN_FORCE_AT_THE_CLOSE: TimeInForce
LIQUIDITY_UNSPECIFIED: Liquidity
LIQUIDITY_MAKER: Liquidity
LIQUIDITY_TAKER: Liquidity

class Request(_message.Message):
    __slots__ = ("hello", "new_order", "cancel_order", "replace_order", "query_order", "list_working")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    NEW_ORDER_FIELD_NUMBER: _ClassVar[int]
    CANCEL_ORDER_FIELD_NUMBER: _ClassVar[int]
    REPLACE_ORDER_FIELD_NUMBER: _ClassVar[int]
    QUERY_ORDER_FIELD_NUMBER: _ClassVar[int]
    LIST_WORKING_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    new_order: NewOrder
    cancel_order: CancelOrder
    replace_order: ReplaceOrder
    query_order: QueryOrder
    list_working: ListWorking
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., new_order: _Optional[_Union[NewOrder, _Mapping]] = ..., cancel_order: _Optional[_Union[CancelOrder, _Mapping]] = ..., replace_order: _Optional[_Union[ReplaceOrder, _Mapping]] = ..., query_order: _Optional[_Union[QueryOrder, _Mapping]] = ..., list_working: _Optional[_Union[ListWorking, _Mapping]] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("welcome", "accepted", "rejected", "executed", "canceled", "expired", "replaced", "cancel_rejected", "replace_rejected", "not_found", "query_done", "working")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    EXECUTED_FIELD_NUMBER: _ClassVar[int]
    CANCELED_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REJECTED_FIELD_NUMBER: _ClassVar[int]
    REPLACE_REJECTED_FIELD_NUMBER: _ClassVar[int]
    NOT_FOUND_FIELD_NUMBER: _ClassVar[int]
    QUERY_DONE_FIELD_NUMBER: _ClassVar[int]
    WORKING_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    accepted: Accepted
    rejected: Rejected
    executed: Executed
    canceled: Canceled
    expired: Expired
    replaced: Replaced
    cancel_rejected: CancelRejected
    replace_rejected: ReplaceRejected
    not_found: NotFound
    query_done: QueryDone
    working: Working
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ..., rejected: _Optional[_Union[Rejected, _Mapping]] = ..., executed: _Optional[_Union[Executed, _Mapping]] = ..., canceled: _Optional[_Union[Canceled, _Mapping]] = ..., expired: _Optional[_Union[Expired, _Mapping]] = ..., replaced: _Optional[_Union[Replaced, _Mapping]] = ..., cancel_rejected: _Optional[_Union[CancelRejected, _Mapping]] = ..., replace_rejected: _Optional[_Union[ReplaceRejected, _Mapping]] = ..., not_found: _Optional[_Union[NotFound, _Mapping]] = ..., query_done: _Optional[_Union[QueryDone, _Mapping]] = ..., working: _Optional[_Union[Working, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("client",)
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    client: str
    def __init__(self, client: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NewOrder(_message.Message):
    __slots__ = ("client_order_id", "strategy_id", "symbol", "side", "type", "quantity", "time_in_force", "limit_price", "stop_price", "trail_distance", "trail_bps", "expire_timestamp", "reduce_only", "parent_id", "group_id", "timestamp")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    TIME_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_PRICE_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    TRAIL_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    TRAIL_BPS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    REDUCE_ONLY_FIELD_NUMBER: _ClassVar[int]
    PARENT_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    strategy_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: str
    time_in_force: TimeInForce
    limit_price: str
    stop_price: str
    trail_distance: str
    trail_bps: int
    expire_timestamp: int
    reduce_only: bool
    parent_id: str
    group_id: str
    timestamp: int
    def __init__(self, client_order_id: _Optional[str] = ..., strategy_id: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[Side, str]] = ..., type: _Optional[_Union[OrderType, str]] = ..., quantity: _Optional[str] = ..., time_in_force: _Optional[_Union[TimeInForce, str]] = ..., limit_price: _Optional[str] = ..., stop_price: _Optional[str] = ..., trail_distance: _Optional[str] = ..., trail_bps: _Optional[int] = ..., expire_timestamp: _Optional[int] = ..., reduce_only: _Optional[bool] = ..., parent_id: _Optional[str] = ..., group_id: _Optional[str] = ..., timestamp: _Optional[int] = ...) -> None: ...

class CancelOrder(_message.Message):
    __slots__ = ("client_order_id", "strategy_id", "timestamp")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    strategy_id: str
    timestamp: int
    def __init__(self, client_order_id: _Optional[str] = ..., strategy_id: _Optional[str] = ..., timestamp: _Optional[int] = ...) -> None: ...

class ReplaceOrder(_message.Message):
    __slots__ = ("client_order_id", "strategy_id", "quantity", "limit_price", "stop_price", "timestamp")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_PRICE_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    strategy_id: str
    quantity: str
    limit_price: str
    stop_price: str
    timestamp: int
    def __init__(self, client_order_id: _Optional[str] = ..., strategy_id: _Optional[str] = ..., quantity: _Optional[str] = ..., limit_price: _Optional[str] = ..., stop_price: _Optional[str] = ..., timestamp: _Optional[int] = ...) -> None: ...

class QueryOrder(_message.Message):
    __slots__ = ("client_order_id",)
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    def __init__(self, client_order_id: _Optional[str] = ...) -> None: ...

class ListWorking(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("client_order_id", "venue_order_id", "timestamp")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    VENUE_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    venue_order_id: str
    timestamp: int
    def __init__(self, client_order_id: _Optional[str] = ..., venue_order_id: _Optional[str] = ..., timestamp: _Optional[int] = ...) -> None: ...

class Rejected(_message.Message):
    __slots__ = ("client_order_id", "reason", "timestamp")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    reason: str
    timestamp: int
    def __init__(self, client_order_id: _Optional[str] = ..., reason: _Optional[str] = ..., timestamp: _Optional[int] = ...) -> None: ...

class Executed(_message.Message):
    __slots__ = ("client_order_id", "exec_id", "last_quantity", "last_price", "commission", "liquidity", "timestamp")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    EXEC_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    LAST_PRICE_FIELD_NUMBER: _ClassVar[int]
    COMMISSION_FIELD_NUMBER: _ClassVar[int]
    LIQUIDITY_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    exec_id: str
    last_quantity: str
    last_price: str
    commission: str
    liquidity: Liquidity
    timestamp: int
    def __init__(self, client_order_id: _Optional[str] = ..., exec_id: _Optional[str] = ..., last_quantity: _Optional[str] = ..., last_price: _Optional[str] = ..., commission: _Optional[str] = ..., liquidity: _Optional[_Union[Liquidity, str]] = ..., timestamp: _Optional[int] = ...) -> None: ...

class Canceled(_message.Message):
    __slots__ = ("client_order_id", "reason", "timestamp")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    reason: str
    timestamp: int
    def __init__(self, client_order_id: _Optional[str] = ..., reason: _Optional[str] = ..., timestamp: _Optional[int] = ...) -> None: ...

class Expired(_message.Message):
    __slots__ = ("client_order_id", "reason", "timestamp")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    reason: str
    timestamp: int
    def __init__(self, client_order_id: _Optional[str] = ..., reason: _Optional[str] = ..., timestamp: _Optional[int] = ...) -> None: ...

class Replaced(_message.Message):
    __slots__ = ("client_order_id", "quantity", "limit_price", "stop_price", "timestamp")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_PRICE_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    quantity: str
    limit_price: str
    stop_price: str
    timestamp: int
    def __init__(self, client_order_id: _Optional[str] = ..., quantity: _Optional[str] = ..., limit_price: _Optional[str] = ..., stop_price: _Optional[str] = ..., timestamp: _Optional[int] = ...) -> None: ...

class CancelRejected(_message.Message):
    __slots__ = ("client_order_id", "reason", "timestamp")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    reason: str
    timestamp: int
    def __init__(self, client_order_id: _Optional[str] = ..., reason: _Optional[str] = ..., timestamp: _Optional[int] = ...) -> None: ...

class ReplaceRejected(_message.Message):
    __slots__ = ("client_order_id", "reason", "timestamp")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    reason: str
    timestamp: int
    def __init__(self, client_order_id: _Optional[str] = ..., reason: _Optional[str] = ..., timestamp: _Optional[int] = ...) -> None: ...

class NotFound(_message.Message):
    __slots__ = ("client_order_id", "timestamp")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    timestamp: int
    def __init__(self, client_order_id: _Optional[str] = ..., timestamp: _Optional[int] = ...) -> None: ...

class QueryDone(_message.Message):
    __slots__ = ("client_order_id",)
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    def __init__(self, client_order_id: _Optional[str] = ...) -> None: ...

class Working(_message.Message):
    __slots__ = ("client_order_ids", "timestamp")
    CLIENT_ORDER_IDS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    client_order_ids: _containers.RepeatedScalarFieldContainer[str]
    timestamp: int
    def __init__(self, client_order_ids: _Optional[_Iterable[str]] = ..., timestamp: _Optional[int] = ...) -> None: ...
