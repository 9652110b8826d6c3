"""What an anonymous object may say: the Standard's own words, and the numbers of public catalogues.

Open vocabularies let a sender write anything, a name too. So only words that STIX 2.1 itself suggests (section 10) are
told; of kill chains and references, those that everybody has.
"""

import re
from typing import Final

INDICATOR_TYPES: Final = frozenset(
    {"anomalous-activity", "anonymization", "benign", "compromised", "malicious-activity", "attribution", "unknown"}
)
MALWARE_TYPES: Final = frozenset({
    "adware", "backdoor", "bot", "bootkit", "ddos", "downloader", "dropper", "exploit-kit", "keylogger", "ransomware",
    "remote-access-trojan", "resource-exploitation", "rogue-security-software", "rootkit", "screen-capture", "spyware",
    "trojan", "unknown", "virus", "webshell", "wiper", "worm",
})  # fmt: skip
INFRASTRUCTURE_TYPES: Final = frozenset({
    "amplification", "anonymization", "botnet", "command-and-control", "control-system", "exfiltration", "firewall",
    "hosting-malware", "hosting-target-lists", "phishing", "reconnaissance", "routers-switches", "staging", "unknown",
    "workstation",
})  # fmt: skip
TOOL_TYPES: Final = frozenset({
    "denial-of-service", "exploitation", "information-gathering", "network-capture", "credential-exploitation",
    "remote-access", "vulnerability-scanning", "unknown",
})  # fmt: skip
THREAT_ACTOR_TYPES: Final = frozenset({
    "activist", "competitor", "crime-syndicate", "criminal", "hacker", "insider-accidental", "insider-disgruntled",
    "nation-state", "sensationalist", "spy", "terrorist", "unknown",
})  # fmt: skip
MOTIVATIONS: Final = frozenset({
    "accidental", "coercion", "dominance", "ideology", "notoriety", "organizational-gain", "personal-gain",
    "personal-satisfaction", "revenge", "unpredictable",
})  # fmt: skip
RESOURCE_LEVELS: Final = frozenset({"individual", "club", "contest", "team", "organization", "government"})
SOPHISTICATIONS: Final = frozenset({"none", "minimal", "intermediate", "advanced", "expert", "innovator", "strategic"})
RELATIONSHIP_TYPES: Final = frozenset({
    "analysis-of", "attributed-to", "authored-by", "based-on", "beacons-to", "characterizes", "communicates-with",
    "compromises", "consists-of", "controls", "delivers", "derived-from", "downloads", "drops", "duplicate-of",
    "dynamic-analysis-of", "exfiltrates-to", "exploits", "has", "hosts", "impersonates", "indicates", "investigates",
    "mitigates", "originates-from", "owns", "related-to", "remediates", "static-analysis-of", "targets", "uses",
    "variant-of",
})  # fmt: skip

KILL_CHAINS: Final = {
    "lockheed-martin-cyber-kill-chain": frozenset({
        "reconnaissance", "weaponization", "delivery", "exploitation", "installation", "command-and-control",
        "actions-on-objective", "actions-on-objectives",
    }),
    "mitre-attack": frozenset({
        "reconnaissance", "resource-development", "initial-access", "execution", "persistence", "privilege-escalation",
        "defense-evasion", "credential-access", "discovery", "lateral-movement", "collection", "command-and-control",
        "exfiltration", "impact",
    }),
    "mitre-ics-attack": frozenset({
        "initial-access", "execution", "persistence", "privilege-escalation", "evasion", "discovery", "lateral-movement",
        "collection", "command-and-control", "inhibit-response-function", "impair-process-control", "impact",
    }),
}  # fmt: skip

CATALOGUES: Final = {
    "cve": re.compile(r"CVE-[0-9]{4}-[0-9]{4,7}", re.ASCII).fullmatch,
    "cwe": re.compile(r"CWE-[0-9]{1,5}", re.ASCII).fullmatch,
    "capec": re.compile(r"CAPEC-[0-9]{1,4}", re.ASCII).fullmatch,
    "mitre-attack": re.compile(r"(?:TA|[TGSCM])[0-9]{4}(?:\.[0-9]{3})?", re.ASCII).fullmatch,
}
"""Public catalogues by the source name that STIX content gives them, and the form of their numbers."""
