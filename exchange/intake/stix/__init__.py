"""STIX 2.1 as pydantic models: one per type, with the rules between its properties beside it.

Models are typed dictionaries, because objects are checked and never rebuilt: what is kept is the bytes that came in.
The copy that pydantic returns serves the rules only; in it every timestamp is a sortable key (`model.instant`).
"""
