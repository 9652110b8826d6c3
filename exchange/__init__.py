"""Puente: a hub where agencies and operators of two countries exchange signed threat indicators."""
