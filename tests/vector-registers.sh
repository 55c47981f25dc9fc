#!/bin/sh
# Fails when a kernel image uses vector or floating-point registers: they are the program's.
#
#   tests/vector-registers.sh <kernel>
#
# Saving and restoring them all at once (XSAVE, FXSAVE and their like) has memory operands only and
# is allowed. So are the functions of hal/src/x86_64/wide.rs, which give back what they use.
set -eu

allowed='^<(wide_copy|wide_fill)>:$'
found=$(objdump --disassemble --no-show-raw-insn --no-addresses "$1" |
    awk -v allowed="$allowed" '
        /^<.*>:$/ { function_name = $0 }
        function_name !~ allowed { print function_name, $0 }' |
    grep -E '%([xyz]mm[0-9]+|mm[0-7]|k[0-7]|st)\b|[[:space:]](fld|fst|fild|fist|fadd|fmul|emms|vzero)[a-z]*([[:space:]]|$)' || true)
if [ -n "$found" ]; then
    echo "$1 uses the program's registers:" >&2
    echo "$found" | head -n 20 >&2
    exit 1
fi
