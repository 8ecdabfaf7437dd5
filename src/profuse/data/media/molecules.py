"""Molecules from SMILES, through RDKit where it is installed: atoms are nodes, bonds edges."""

from __future__ import annotations

from typing import Any

from profuse._optional import need
from profuse.data.graphs import made_graph
from profuse.errors import DataError
from profuse.kinds import Graph

__all__ = ["read_smiles"]


def read_smiles(smiles: str) -> Graph:
    """Returns a molecule: atoms with element, degree, charge, hydrogens, aromatic, ring; bonds with order and ring.

    Hydrogens are numbers of their atoms, not nodes. The order of an aromatic bond is 1.5.

    Raises:
        DataError: It is no SMILES of a molecule.
        MissingDependencyError: RDKit is not installed.
    """
    chem, base = need("rdkit.Chem", "graph", "reading SMILES"), need("rdkit.rdBase", "graph", "reading SMILES")
    with base.BlockLogs():
        molecule: Any = chem.MolFromSmiles(smiles)
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise DataError("it is no SMILES of a molecule, nor the name of a file of graphs")
    nodes = [
        (
            atom.GetIdx(),
            {
                "element": atom.GetSymbol(),
                "degree": atom.GetDegree(),
                "charge": atom.GetFormalCharge(),
                "hydrogens": atom.GetTotalNumHs(),
                "aromatic": atom.GetIsAromatic(),
                "ring": atom.IsInRing(),
            },
        )
        for atom in molecule.GetAtoms()
    ]
    edges = [
        (
            bond.GetBeginAtomIdx(),
            bond.GetEndAtomIdx(),
            {"order": bond.GetBondTypeAsDouble(), "ring": bond.IsInRing()},
        )
        for bond in molecule.GetBonds()
    ]
    return made_graph(nodes, edges, is_directed=False, left_out=set())
