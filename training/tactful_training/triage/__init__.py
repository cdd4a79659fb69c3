"""What a person should look at next: labels that look wrong, replies that are worth labelling.

Labelled rows and unlabelled replies come in; ranked files go out, which a person opens, edits and
feeds back.
"""
