"""What files of X-rays are, without their pixels: the rules that portal and ml both apply.

Bytes in, facts or ``BadFile`` out. Pure Python and pydicom's conversion of values. Whatever is
decided here is decided alike where a file is accepted and where it is decoded.
"""
