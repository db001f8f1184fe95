# SPDX-License-Identifier: ISC
"""The bench: kaproxy beside HAProxy, nginx and a relay that understands nothing."""
