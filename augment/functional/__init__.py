"""The paper's equations as pure functions: tensors in, tensors out.

"Revisiting DDIM Inversion for Controlling Defect Generation by Disentangling the Background"
(arXiv 2411.16767).

========  ==============================================  =========================================
Eq.       what                                            function
========  ==============================================  =========================================
1         forward noising                                 `noising.add_noise`
2         naive loss                                      `losses.naive_loss`
3         DDIM step                                       `ddim.ddim_step`
4         DDIM inversion step                             `ddim.ddim_inversion_step`
5         disentangled loss                               `losses.disentangled_loss`
6, 7      the two noised latents                          `noising.add_noise`, `noising.mask_latents`
8         masked inversion of a normal image              `ddim.invert_background`
9         defect generation                               `ddim.generate_defect`
10, 11    masked cross-attention                          `attention.masked_cross_attention`
12        background self-attention                       `attention.background_self_attention`
13        mask refinement                                 `attention.defect_share`, `masks.refine_mask`
========  ==============================================  =========================================

Symbols, used as names inside the functions:

=========  ===============  =========================================================================
`z_0`      (B, C, h, w)     clean latents of an image
`m`        (B, 1, h, w)     defect mask on the latent grid, 1 = defect, 0 = background
`a_t`      (B, 1, 1, 1)     cumulative product of alphas at t (a scalar broadcasts too)
`eps`      (B, C, h, w)     Gaussian noise
`z_t`      (B, C, h, w)     noised latents; `z_t^m` = (1 - m) z_t
=========  ===============  =========================================================================
"""
