"""What came of a use, as the service answers it."""

from __future__ import annotations

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_compute.inference.rows import ASKED, FAILED, RELEASED
from cipherward_compute.inference.use import Use
from cipherward_member.reports import OrderKey

STATES = {
    ASKED: pb.INFERENCE_STATE_ASKED,
    RELEASED: pb.INFERENCE_STATE_RELEASED,
    FAILED: pb.INFERENCE_STATE_FAILED,
}


def order_of(order: OrderKey | None) -> chain_pb.OrderRef | None:
    """Return the message that names an order; none of none."""
    return None if order is None else chain_pb.OrderRef(height=order.height, index=order.index)


def inference_of(use: Use) -> pb.GetInferenceResponse:
    """Return the message of a use."""
    return pb.GetInferenceResponse(
        state=STATES[use.state],
        failure_reason=use.failure_reason,
        failure=use.failure,
        variables=use.variables,
        scores=[
            pb.Score(
                reference=one.reference,
                known=one.known,
                linear=one.linear,
                probability=one.probability,
            )
            for one in use.scores
        ],
        release_order=order_of(use.release),
    )
