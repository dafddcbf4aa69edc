"""Private training: the clipped gradient sum of a firm's privacy units. What leaves gets its noise on the grid.

Everything that one privacy unit contributes in a round is averaged into one gradient and clipped once, whatever the
number of its examples (Abadi et al. 2016, with the unit of McMahan et al. 2018 in place of the record).
"""

from clients.training.gradient_sum import Gradients, clipped_gradient_sum
from clients.training.protection import Protection, bounded_gradient_sum

__all__ = ["Gradients", "Protection", "bounded_gradient_sum", "clipped_gradient_sum"]
