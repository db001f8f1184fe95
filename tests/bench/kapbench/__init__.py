# SPDX-License-Identifier: ISC
"""The bench: kaproxy compared with HAProxy, nginx and a relay that parses nothing."""
