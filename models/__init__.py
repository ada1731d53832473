"""The physics of mixing and cycling solid-state chalcogen cathodes, in torch."""

from models.simulate import Simulation, ensemble, simulate

__all__ = ["Simulation", "ensemble", "simulate"]
