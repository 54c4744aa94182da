//! Capture rules: from a CaptureSpec to one iptables transaction per family.
