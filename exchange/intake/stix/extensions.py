"""The extensions that STIX 2.1 itself defines (section 6): each is a fixed shape under a fixed name."""

from typing import Annotated, Any, Literal, Required

from pydantic import AfterValidator, ConfigDict, with_config
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from exchange.intake.stix.fields import Count, Dictionary, Hashes, Hex, Integer, ListOf, Number, Timestamp, ref

STRICT = with_config(ConfigDict(strict=True))


def something(value: Any) -> Any:
    """At least one of the properties that the shape knows."""
    if not value:
        raise PydanticCustomError("stix-value", "stix-value")
    return value


@STRICT
class ArchiveExt(TypedDict, total=False):
    contains_refs: Required[ListOf[Annotated[str, ref("file", "directory")]]]
    comment: str


@STRICT
class AlternateDataStream(TypedDict, total=False):
    name: Required[str]
    hashes: Hashes
    size: Count


@STRICT
class NtfsExt(TypedDict, total=False):
    sid: str
    alternate_data_streams: ListOf[AlternateDataStream]


@STRICT
class PdfExt(TypedDict, total=False):
    version: str
    is_optimized: bool
    document_info_dict: Dictionary
    pdfid0: str
    pdfid1: str


@STRICT
class RasterImageExt(TypedDict, total=False):
    image_height: Integer
    image_width: Integer
    bits_per_pixel: Integer
    exif_tags: Dictionary


@STRICT
class PeOptionalHeader(TypedDict, total=False):
    magic_hex: Hex
    major_linker_version: Integer
    minor_linker_version: Integer
    size_of_code: Count
    size_of_initialized_data: Count
    size_of_uninitialized_data: Count
    address_of_entry_point: Integer
    base_of_code: Integer
    base_of_data: Integer
    image_base: Integer
    section_alignment: Integer
    file_alignment: Integer
    major_os_version: Integer
    minor_os_version: Integer
    major_image_version: Integer
    minor_image_version: Integer
    major_subsystem_version: Integer
    minor_subsystem_version: Integer
    win32_version_value_hex: Hex
    size_of_image: Count
    size_of_headers: Count
    checksum_hex: Hex
    subsystem_hex: Hex
    dll_characteristics_hex: Hex
    size_of_stack_reserve: Count
    size_of_stack_commit: Count
    size_of_heap_reserve: Count
    size_of_heap_commit: Count
    loader_flags_hex: Hex
    number_of_rva_and_sizes: Integer
    hashes: Hashes


@STRICT
class PeSection(TypedDict, total=False):
    name: Required[str]
    size: Count
    entropy: Number
    hashes: Hashes


@STRICT
class WindowsPeBinaryExt(TypedDict, total=False):
    pe_type: Required[str]
    imphash: str
    machine_hex: Hex
    number_of_sections: Count
    time_date_stamp: Timestamp
    pointer_to_symbol_table_hex: Hex
    number_of_symbols: Count
    size_of_optional_header: Count
    characteristics_hex: Hex
    file_header_hashes: Hashes
    optional_header: Annotated[PeOptionalHeader, AfterValidator(something)]
    sections: ListOf[PeSection]


@STRICT
class HttpRequestExt(TypedDict, total=False):
    request_method: Required[str]
    request_value: Required[str]
    request_version: str
    request_header: Dictionary
    message_body_length: Integer
    message_body_data_ref: Annotated[str, ref("artifact")]


@STRICT
class IcmpExt(TypedDict):
    icmp_type_hex: Hex
    icmp_code_hex: Hex


@STRICT
class SocketExt(TypedDict, total=False):
    address_family: Required[
        Literal[
            "AF_UNSPEC", "AF_INET", "AF_IPX", "AF_APPLETALK", "AF_NETBIOS", "AF_INET6", "AF_IRDA", "AF_BTH"
        ]
    ]  # fmt: skip
    is_blocking: bool
    is_listening: bool
    options: dict[str, Integer]
    socket_type: Literal["SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW", "SOCK_RDM", "SOCK_SEQPACKET"]
    socket_descriptor: Count
    socket_handle: Integer


@STRICT
class TcpExt(TypedDict, total=False):
    src_flags_hex: Hex
    dst_flags_hex: Hex


@STRICT
class WindowsProcessExt(TypedDict, total=False):
    aslr_enabled: bool
    dep_enabled: bool
    priority: str
    owner_sid: str
    window_title: str
    startup_info: Dictionary
    integrity_level: Literal["low", "medium", "high", "system"]


@STRICT
class WindowsServiceExt(TypedDict, total=False):
    service_name: str
    descriptions: ListOf[str]
    display_name: str
    group_name: str
    start_type: Literal[
        "SERVICE_AUTO_START", "SERVICE_BOOT_START", "SERVICE_DEMAND_START", "SERVICE_DISABLED", "SERVICE_SYSTEM_ALERT"
    ]
    service_dll_refs: ListOf[Annotated[str, ref("file")]]
    service_type: Literal[
        "SERVICE_KERNEL_DRIVER",
        "SERVICE_FILE_SYSTEM_DRIVER",
        "SERVICE_WIN32_OWN_PROCESS",
        "SERVICE_WIN32_SHARE_PROCESS",
    ]
    service_status: Literal[
        "SERVICE_CONTINUE_PENDING",
        "SERVICE_PAUSE_PENDING",
        "SERVICE_PAUSED",
        "SERVICE_RUNNING",
        "SERVICE_START_PENDING",
        "SERVICE_STOP_PENDING",
        "SERVICE_STOPPED",
    ]


@STRICT
class UnixAccountExt(TypedDict, total=False):
    gid: Integer
    groups: ListOf[str]
    home_dir: str
    shell: str


Extensions = TypedDict(
    "Extensions",
    {
        "archive-ext": ArchiveExt,
        "ntfs-ext": Annotated[NtfsExt, AfterValidator(something)],
        "pdf-ext": Annotated[PdfExt, AfterValidator(something)],
        "raster-image-ext": Annotated[RasterImageExt, AfterValidator(something)],
        "windows-pebinary-ext": WindowsPeBinaryExt,
        "http-request-ext": HttpRequestExt,
        "icmp-ext": IcmpExt,
        "socket-ext": SocketExt,
        "tcp-ext": Annotated[TcpExt, AfterValidator(something)],
        "windows-process-ext": Annotated[WindowsProcessExt, AfterValidator(something)],
        "windows-service-ext": Annotated[WindowsServiceExt, AfterValidator(something)],
        "unix-account-ext": Annotated[UnixAccountExt, AfterValidator(something)],
    },
    total=False,
)
"""The `extensions` of any object. Names, and what stands under others, are judged by `content.py`."""

STRICT(Extensions)
