"""A loaded diffusion model: the bundled tiny one, or any Stable Diffusion folder or hub id."""
