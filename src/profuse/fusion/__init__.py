"""Fusion operators: the survey's five families and one for what came after; a folder each.

"Add yours": copy a neighbour to `fusion/<family>/yours.py`, write `__init__` and `fuse`, add one line here.
"""

from __future__ import annotations

from typing import cast

from profuse.fusion._base import DecisionFusion, Fused, Fusion, Link, TargetFacts
from profuse.fusion._coordinated import CoordinatedFusion
from profuse.fusion._hierarchical import HierarchicalFusion
from profuse.registry import table

__all__ = [
    "FUSIONS",
    "CoordinatedFusion",
    "DecisionFusion",
    "Fused",
    "Fusion",
    "HierarchicalFusion",
    "Link",
    "TargetFacts",
    "fusion",
]

FUSIONS = table(
    "fusion",
    {
        # encoder-decoder: merges of features
        "concat": "profuse.fusion.encoder_decoder.concat:Concat",
        "sum": "profuse.fusion.encoder_decoder.sum:Sum",
        "mean": "profuse.fusion.encoder_decoder.mean:Mean",
        "product": "profuse.fusion.encoder_decoder.product:Product",
        "max": "profuse.fusion.encoder_decoder.max:Max",
        "gated": "profuse.fusion.encoder_decoder.gated:Gated",
        "outer": "profuse.fusion.encoder_decoder.outer:Outer",
        "film": "profuse.fusion.encoder_decoder.film:FiLM",
        "multiplicative": "profuse.fusion.encoder_decoder.multiplicative:MultiplicativeInteraction",
        "aligned": "profuse.fusion.encoder_decoder.aligned:Aligned",
        # encoder-decoder: merges at several stages of the branches
        "mmtm": "profuse.fusion.encoder_decoder.mmtm:MMTM",
        "stagewise": "profuse.fusion.encoder_decoder.stagewise:Stagewise",
        # encoder-decoder: decisions
        "mean_probs": "profuse.fusion.encoder_decoder.mean_probs:MeanProbs",
        "mean_logits": "profuse.fusion.encoder_decoder.mean_logits:MeanLogits",
        "confidence": "profuse.fusion.encoder_decoder.confidence:Confidence",
        "product_of_experts": "profuse.fusion.encoder_decoder.product_of_experts:ProductOfExperts",
        "vote": "profuse.fusion.encoder_decoder.vote:Vote",
        "stacking": "profuse.fusion.encoder_decoder.stacking:Stacking",
        "trusted": "profuse.fusion.encoder_decoder.trusted:Trusted",
        "quality_aware": "profuse.fusion.encoder_decoder.quality_aware:QualityAware",
        "predictive_dynamic": "profuse.fusion.encoder_decoder.predictive_dynamic:PredictiveDynamic",
        "multiplicative_late": "profuse.fusion.encoder_decoder.multiplicative_late:MultiplicativeLate",
        # attention
        "attention_pooling": "profuse.fusion.attention.pooling:AttentionPooling",
        "token_transformer": "profuse.fusion.attention.token_transformer:TokenTransformer",
        "self_attention": "profuse.fusion.attention.self_attention:SelfAttention",
        "cross_attention": "profuse.fusion.attention.cross_attention:CrossAttention",
        "co_attention": "profuse.fusion.attention.co_attention:CoAttention",
        "mult": "profuse.fusion.attention.mult:MulT",
        "bottleneck": "profuse.fusion.attention.bottleneck:Bottleneck",
        "perceiver": "profuse.fusion.attention.perceiver:Perceiver",
        "zorro": "profuse.fusion.attention.zorro:Zorro",
        # graph
        "mogonet": "profuse.fusion.graph.mogonet:Mogonet",
        "similarity_network": "profuse.fusion.graph.similarity_network:SimilarityNetwork",
        "modality_graph": "profuse.fusion.graph.modality_graph:ModalityGraph",
        "dynamic_fusion_graph": "profuse.fusion.graph.dynamic_fusion_graph:DynamicFusionGraph",
        # generative
        "mvae": "profuse.fusion.generative.mvae:MVAE",
        "mmvae": "profuse.fusion.generative.mmvae:MMVAE",
        "mopoe": "profuse.fusion.generative.mopoe:MoPoE",
        "mvtcae": "profuse.fusion.generative.mvtcae:MVTCAE",
        "regression_imputer": "profuse.fusion.generative.regression_imputer:RegressionImputer",
        "flow_imputer": "profuse.fusion.generative.flow_imputer:FlowImputer",
        "diffusion_imputer": "profuse.fusion.generative.diffusion_imputer:DiffusionImputer",
        "gan_imputer": "profuse.fusion.generative.gan_imputer:GanImputer",
        # constraint
        "dcca": "profuse.fusion.constraint.dcca:DCCA",
        "dcca_ey": "profuse.fusion.constraint.dcca_ey:DCCAEY",
        "contrastive": "profuse.fusion.constraint.contrastive:Contrastive",
        "ranking": "profuse.fusion.constraint.ranking:Ranking",
        "shared_private": "profuse.fusion.constraint.shared_private:SharedPrivate",
        # constraint: tensors
        "tensor": "profuse.fusion.constraint.tensor:TensorFusion",
        "low_rank": "profuse.fusion.constraint.low_rank:LowRank",
        "compact_bilinear": "profuse.fusion.constraint.compact_bilinear:CompactBilinear",
        "factorized_bilinear": "profuse.fusion.constraint.factorized_bilinear:FactorizedBilinear",
        "mutan": "profuse.fusion.constraint.mutan:Mutan",
        "block": "profuse.fusion.constraint.block:Block",
        # mixture
        "sparse_experts": "profuse.fusion.mixture.sparse_experts:SparseExperts",
        "missing_experts": "profuse.fusion.mixture.missing_experts:MissingExperts",
        "interaction_experts": "profuse.fusion.mixture.interaction_experts:InteractionExperts",
    },
)


def fusion(name: str) -> type[Fusion]:
    """Returns the class of the operator called `name`."""
    return cast(type[Fusion], FUSIONS.part(name))
