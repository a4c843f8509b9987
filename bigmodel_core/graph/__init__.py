"""The graph of ops, what is known of arrays before they exist, and gradients; it knows nothing of kernels."""

from bigmodel_core.graph.body import Body as Body
from bigmodel_core.graph.body import BodyGraph as BodyGraph
from bigmodel_core.graph.body import with_inner as with_inner
from bigmodel_core.graph.graph import LEAVES as LEAVES
from bigmodel_core.graph.graph import Constant as Constant
from bigmodel_core.graph.graph import Graph as Graph
from bigmodel_core.graph.graph import Input as Input
from bigmodel_core.graph.graph import Node as Node
from bigmodel_core.graph.graph import Variable as Variable
from bigmodel_core.graph.graph import between as between
from bigmodel_core.graph.graph import needed as needed
from bigmodel_core.graph.graph import place as place
from bigmodel_core.graph.kernel import Kernel as Kernel
from bigmodel_core.graph.op import Op as Op
from bigmodel_core.graph.op import current_graph as current_graph
from bigmodel_core.graph.op import graph_of as graph_of
from bigmodel_core.graph.op import parts_of as parts_of
from bigmodel_core.graph.op import register_kernel as register_kernel
from bigmodel_core.graph.value import Number as Number
from bigmodel_core.graph.value import Operand as Operand
from bigmodel_core.graph.value import Value as Value
