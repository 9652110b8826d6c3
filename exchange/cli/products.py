"""What to paste into which product, field by field: printed with a new credential, and shown in docs/clients.md.

Each line rests on what was read in the product's code or manual; the page has the sources. What the hub itself does for a
product is in exchange/model/product.py.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from exchange.errors import Text

USER: Final = "puente"
"""Any user name will do; some products refuse an empty one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the hub is and what a client is given there: the values that the lines are made of."""

    public_url: str
    api_root: str
    collection_id: str
    collection_alias: str
    collection_title: str
    token: str
    """Itself, or in angle brackets where it was saved."""
    ca_file: str

    @property
    def base(self) -> str:
        return self.public_url.rstrip("/")

    @property
    def host(self) -> str:
        return urlsplit(self.base).netloc

    @property
    def discovery(self) -> str:
        return f"{self.base}/taxii2/"

    @property
    def root(self) -> str:
        return f"{self.discovery}{self.api_root}/"

    @property
    def objects(self) -> str:
        return f"{self.root}collections/{self.collection_id}/objects/"

    @property
    def lists(self) -> str:
        return f"{self.base}/edl/v1/{self.collection_alias}/"

    @property
    def basic(self) -> str:
        if self.token.startswith("<"):
            return f"<base64({USER}:token)>"
        return b64encode(f"{USER}:{self.token}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Line:
    """A field of the product as its screen names it, and what goes into it."""

    field: Text
    value: Callable[[Place], str]


@dataclass(frozen=True, slots=True)
class Guide:
    lines: tuple[Line, ...]
    notes: tuple[Text, ...]


def _line(en: str, es: str, value: Callable[[Place], str]) -> Line:
    return Line(Text(en, es), value)


_ROOT = _line("API root URL", "URL de la raíz de API", lambda at: at.root)
_ID = _line("Collection ID", "Id. de la colección", lambda at: at.collection_id)
_USER = _line("User name", "Usuario", lambda _: USER)
_PASSWORD = _line("Password", "Contraseña", lambda at: at.token)
_CA = _line("CA file", "Archivo de CA", lambda at: at.ca_file)


def _every(text: str) -> Line:
    return _line("Poll interval", "Intervalo de consulta", lambda _: text)


_SLASH = Text(
    "URLs work with and without their last slash; nothing redirects.",
    "Las URL funcionan con y sin la última barra; nada redirige.",
)

GUIDES: Final[Mapping[str, Guide]] = {
    "sentinel": Guide(
        (_ROOT, _ID, _USER, _PASSWORD, _every("1 h")),
        (
            Text(
                "Discovery is not used: the root and the id are typed by hand. Let the connector's addresses through your firewall.",
                "No usa el descubrimiento: la raíz y el id. se escriben a mano. Permita las direcciones del conector en su cortafuegos.",
            ),
            Text(
                "TAXII Export (sending to the hub) takes the same values. One failed bulk export pauses all later ones until it is"
                " deleted; the hub answers 202 and names what it refused per object.",
                "TAXII Export (enviar al centro) usa los mismos valores. Una exportación masiva fallida pausa las siguientes hasta que"
                " se elimina; el centro responde 202 y nombra lo rechazado objeto por objeto.",
            ),
        ),
    ),
    "splunk": Guide(
        (
            _line("CSV URL (every version)", "URL del CSV (toda versión)", lambda at: f"{at.lists}indicators.csv"),
            _line("TAXII 2.1 URL (ES 8.2 or later)", "URL TAXII 2.1 (ES 8.2 o posterior)", lambda at: at.root),
            _line("Collection ID", "Id. de la colección", lambda at: at.collection_id),
            _USER,
            _PASSWORD,
            _CA,
            _every("5 min"),
        ),
        (
            Text(
                "ES 8.1 and earlier speak TAXII 1 only: use the CSV. Its columns: type, value, confidence, valid_until, name, indicator.",
                "ES 8.1 y anteriores solo hablan TAXII 1: use el CSV. Sus columnas: type, value, confidence, valid_until, name, indicator.",
            ),
            Text(
                "The CTIS app (sending to the hub) takes the TAXII URL; it greys out what you may not write to.",
                "La aplicación CTIS (enviar al centro) usa la URL TAXII; atenúa aquello en lo que usted no puede escribir.",
            ),
        ),
    ),
    "elastic": Guide(
        (
            _line("URL", "URL", lambda at: at.objects),
            _line("Accept", "Accept", lambda _: "application/taxii+json;version=2.1"),
            _line("Authentication", "Autenticación", lambda _: "Bearer"),
            _line("Token", "Token", lambda at: at.token),
            _line("SSL certificate_authorities", "SSL certificate_authorities", lambda at: at.ca_file),
            _every("5m"),
        ),
        (
            Text(
                "With this credential an empty page has its objects list, which the integration cannot do without.",
                "Con esta credencial, una página vacía trae su lista objects, sin la cual la integración no funciona.",
            ),
            Text(
                "It drops indicators after 90 days unless told otherwise.",
                "Descarta los indicadores a los 90 días, salvo que se indique otra cosa.",
            ),
        ),
    ),
    "xsoar": Guide(
        (
            _line("Discovery Service URL", "URL de descubrimiento", lambda at: at.discovery),
            _line("Default API Root", "Raíz de API predeterminada", lambda at: at.api_root),
            _line("Username", "Usuario", lambda _: "_api_token_key"),
            _line("Password", "Contraseña", lambda at: at.token),
            _line("Collection Name", "Nombre de la colección", lambda at: at.collection_title),
            _line("Max Indicators Per Fetch", "Máximo de indicadores por consulta", lambda _: "1000"),
            _every("1 h"),
        ),
        (
            Text(
                "The collection is chosen by its title. The user name is not yours: it says that the password is a token.",
                "La colección se elige por su título. El usuario no es el suyo: indica que la contraseña es un token.",
            ),
            Text(
                "It knows the markings of TLP 1.0 only. The hub never edits a signed object, so one that bears TLP 2.0 alone is shown"
                " without colour; its rules hold all the same.",
                "Solo conoce las marcas de TLP 1.0. El centro nunca edita un objeto firmado: el que solo lleva TLP 2.0 se muestra"
                " sin color; sus reglas valen igual.",
            ),
        ),
    ),
    "opencti": Guide(
        (
            _ROOT,
            _line("TAXII version", "Versión de TAXII", lambda _: "2.1"),
            _line("Collection", "Colección", lambda at: at.collection_id),
            _line("Authentication", "Autenticación", lambda _: "Bearer"),
            _line("Token", "Token", lambda at: at.token),
        ),
        (
            Text(
                "The built-in TAXII feed reads one page a tick; with this credential a page without limit is as long as pages get.",
                "La fuente TAXII integrada lee una página por ciclo; con esta credencial, una página sin limit es tan larga como puede ser.",
            ),
            Text(
                "The taxii2 connector picks by titles joined by a point, root.collection; it may use Basic, the token as password.",
                "El conector taxii2 elige por títulos unidos con un punto, raíz.colección; puede usar Basic, con el token como contraseña.",
            ),
        ),
    ),
    "misp": Guide(
        (
            _line("Base URL", "URL base", lambda at: f"{at.base}/taxii2"),
            _line("API root", "Raíz de API", lambda at: at.api_root),
            _line("Collection", "Colección", lambda at: at.collection_id),
            _line("Header", "Encabezado", lambda at: f"Authorization: basic {at.basic}"),
        ),
        (
            Text(
                f"MISP cannot send Bearer. The header is base64 of {USER}:token, so treat it as the token.",
                f"MISP no puede enviar Bearer. El encabezado es base64 de {USER}:token; trátelo como el token.",
            ),
            Text(
                "MISP browses and pushes; it does not poll TAXII on a schedule.",
                "MISP explora y envía; no consulta TAXII periódicamente.",
            ),
        ),
    ),
    "sumo": Guide(
        (_ROOT, _ID, _USER, _PASSWORD, _every("1 h")),
        (
            Text(
                "The user name may be any text that is not empty, and may be empty.",
                "El usuario puede ser cualquier texto, incluso vacío.",
            ),
        ),
    ),
    "fortigate": Guide(
        (
            _line("IP address list", "Lista de direcciones IP", lambda at: f"{at.lists}ipv4.txt"),
            _line("Domain list", "Lista de dominios", lambda at: f"{at.lists}domains.txt"),
            _line("URL list", "Lista de URL", lambda at: f"{at.lists}urls.txt"),
            _line("Malware hash list", "Lista de resúmenes de malware", lambda at: f"{at.lists}sha256.txt"),
            _line("STIX list (7.0.2 or later)", "Lista STIX (7.0.2 o posterior)", lambda at: f"stix://{at.host}{urlsplit(at.objects).path}"),
            _USER,
            _PASSWORD,
            _CA,
            _every("5 min"),
        ),
        (
            Text(
                "Prefer the text lists: only what may be blocked is in them. STIX reads everything that you may see, one page of it.",
                "Prefiera las listas de texto: solo contienen lo que se puede bloquear. STIX lee todo lo que usted puede ver, una página.",
            ),
            Text(
                "Import the CA and turn the check of the server's identity on: it is off by default.",
                "Importe la CA y active la verificación de identidad del servidor: está desactivada de forma predeterminada.",
            ),
        ),
    ),
    "generic": Guide(
        (
            _line("Discovery URL", "URL de descubrimiento", lambda at: at.discovery),
            _ROOT,
            _line("Collection", "Colección", lambda at: f"{at.collection_title} ({at.collection_id})"),
            _USER,
            _PASSWORD,
            _line("or header", "o encabezado", lambda at: f"Authorization: Bearer {at.token}"),
            _line("or header", "o encabezado", lambda at: f"X-API-Key: {at.token}"),
            _line("Block lists", "Listas de bloqueo", lambda at: f"{at.lists}ipv4.txt"),
            _CA,
            _every("1 min"),
        ),
        (
            Text(
                "Keep X-TAXII-Date-Added-Last of each answer as the next added_after.",
                "Guarde X-TAXII-Date-Added-Last de cada respuesta como el siguiente added_after.",
            ),
        ),
    ),
}  # fmt: skip
"""By the names of exchange/model/product.py."""


def fields(product: str, at: Place, language: str) -> list[tuple[str, str]]:
    """What to type where."""
    return [(line.field.in_language(language), line.value(at)) for line in GUIDES[product].lines]


def notes(product: str, language: str) -> list[str]:
    return [note.in_language(language) for note in (*GUIDES[product].notes, _SLASH)]


def told(product: str, at: Place, language: str) -> str:
    """The guide as it is printed."""
    rows = fields(product, at, language)
    width = max(len(name) for name, _ in rows) + 2
    lines = [f"{name + ':':<{width}}{value}" for name, value in rows]
    return "\n".join([*lines, "", *[f"- {note}" for note in notes(product, language)]])
