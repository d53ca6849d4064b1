"""What the kernels do with whole vector registers, as LLVM's own vectors: numba has no names for it.

A `Register` holds 16 integers of 32 bits, or 64 bytes. Addresses are counted in elements of an array seen flat.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model

SUMS = 16  # integers of a register
BYTES = 64

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
VECTOR = ir.VectorType(I32, SUMS)
VECTOR_OF_BYTES = ir.VectorType(I8, BYTES)
VECTOR_OF_PAIRS = ir.VectorType(I16, 2 * SUMS)
WIDE_PAIRS = ir.VectorType(I32, 2 * SUMS)


class Register(types.Type):
    """As numba sees it."""

    def __init__(self) -> None:
        super().__init__("Register")


class RegisterModel(models.PrimitiveModel):
    """As LLVM sees it."""

    def __init__(self, manager: Any, frontend_type: Register) -> None:
        super().__init__(manager, frontend_type, VECTOR)  # type: ignore[no-untyped-call]  # numba's


REGISTER = Register()
register_model(Register)(RegisterModel)


@cache
def multiplies_bytes() -> bool:
    """Whether the processor that numba compiles for has one instruction for `add_products`."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return "+avx512vnni" in features


def _no_sums(typing: Any) -> Any:
    """16 zeros."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(VECTOR, None)

    return REGISTER(), emit


def _load_bytes(typing: Any, array: Any, start: Any) -> Any:
    """64 of them."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _load(context, builder, signature, arguments, VECTOR)

    return REGISTER(array, types.intp), emit


def _repeat_bytes(typing: Any, array: Any, start: Any) -> Any:
    """Four of them, 16 times."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        four = _load(context, builder, signature, arguments, I32)
        first = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), four, I32(0))
        return builder.shuffle_vector(first, first, ir.Constant(VECTOR, None))

    return REGISTER(array, types.intp), emit


def _add_products(typing: Any, sums: Any, values: Any, weights: Any) -> Any:
    """sums[o] + Σ_{e<4} values[4·o + e] · weights[4·o + e]: values without a sign, weights with one."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if multiplies_bytes():
            function = ir.FunctionType(VECTOR, [VECTOR] * 3)
            return builder.call(
                builder.module.declare_intrinsic("llvm.x86.avx512.vpdpbusd.512", (), function), arguments
            )
        sums, values, weights = arguments
        values, weights = (builder.bitcast(operand, VECTOR_OF_PAIRS) for operand in (values, weights))
        byte, lower = (ir.Constant(VECTOR_OF_PAIRS, [number] * VECTOR_OF_PAIRS.count) for number in (8, 255))
        for value, weight in (
            (builder.and_(values, lower), builder.ashr(builder.shl(weights, byte), byte)),
            (builder.lshr(values, byte), builder.ashr(weights, byte)),
        ):
            products = builder.mul(builder.sext(value, WIDE_PAIRS), builder.sext(weight, WIDE_PAIRS))
            for first in (0, 1):
                every_other = ir.Constant(VECTOR, list(range(first, WIDE_PAIRS.count, 2)))
                sums = builder.add(sums, builder.shuffle_vector(products, products, every_other))
        return sums

    return REGISTER(REGISTER, REGISTER, REGISTER), emit


def _store_sums(typing: Any, sums: Any, array: Any, start: Any) -> Any:
    """16 of them."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, array, start = arguments
        builder.store(sums, _address(context, builder, signature.args[1], array, start, VECTOR)).align = 1
        return context.get_dummy_value()

    return types.void(REGISTER, array, types.intp), emit


def _bits_set(typing: Any, array: Any, start: Any, bits: Any) -> Any:
    """An integer whose bit i says whether byte i of 64 has one of `bits`."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loaded = _load(context, builder, signature, arguments, VECTOR_OF_BYTES)
        bits = builder.trunc(arguments[2], I8)
        first = builder.insert_element(ir.Constant(VECTOR_OF_BYTES, ir.Undefined), bits, I32(0))
        everywhere = builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(I32, BYTES), None))
        nothing = ir.Constant(VECTOR_OF_BYTES, None)
        return builder.bitcast(builder.icmp_unsigned("!=", builder.and_(loaded, everywhere), nothing), I64)

    return types.uint64(array, types.intp, types.intp), emit


def _count_set(typing: Any, mask: Any) -> Any:
    """How many bits are 1."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), emit


def _lowest_set(typing: Any, mask: Any) -> Any:
    """The number of the lowest bit that is 1; one is."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.uint64), emit


def _load(context: Any, builder: Any, signature: Any, arguments: Any, kind: Any) -> Any:
    array, start, *_ = arguments
    loaded = builder.load(_address(context, builder, signature.args[0], array, start, kind))
    loaded.align = 1
    return loaded


def _address(context: Any, builder: Any, array_type: Any, array: Any, start: Any, kind: Any) -> Any:
    """Of an array's element `start`, as the address of a `kind`."""
    elements = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(elements, [start]), kind.as_pointer())


no_sums: Any = intrinsic(_no_sums)
load_bytes: Any = intrinsic(_load_bytes)
repeat_bytes: Any = intrinsic(_repeat_bytes)
add_products: Any = intrinsic(_add_products)
store_sums: Any = intrinsic(_store_sums)
bits_set: Any = intrinsic(_bits_set)
count_set: Any = intrinsic(_count_set)
lowest_set: Any = intrinsic(_lowest_set)
