"""Requests and answers of one route in the form of another, where a model server lacks the first. Pure functions."""
