"""One exchange from first byte to last: the filter chain, the two bodies, the answer when something fails."""
