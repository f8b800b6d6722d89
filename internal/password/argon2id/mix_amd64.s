#include "textflag.h"

// The compression of Argon2id (RFC 9106, section 3.5) with AVX2. Four registers hold the sixteen words of one permutation,
// and two permutations run side by side, so that neither waits for its own multiplications:
//
//	Y0 Y1 Y2 Y3   a, b, c, d of the one
//	Y4 Y5 Y6 Y7   of the other
//	Y8 Y9         for a moment
//	Y14 Y15       the bytes of a rotation by 24 and by 16

DATA turn24<>+0(SB)/8, $0x0201000706050403
DATA turn24<>+8(SB)/8, $0x0a09080f0e0d0c0b
DATA turn24<>+16(SB)/8, $0x0201000706050403
DATA turn24<>+24(SB)/8, $0x0a09080f0e0d0c0b
GLOBL turn24<>(SB), RODATA|NOPTR, $32

DATA turn16<>+0(SB)/8, $0x0100070605040302
DATA turn16<>+8(SB)/8, $0x09080f0e0d0c0b0a
DATA turn16<>+16(SB)/8, $0x0100070605040302
DATA turn16<>+24(SB)/8, $0x09080f0e0d0c0b0a
GLOBL turn16<>(SB), RODATA|NOPTR, $32

// x += y + 2·low(x)·low(y), in both permutations.
#define ADD(x, y, u, v) \
	VPMULUDQ x, y, Y8; \
	VPMULUDQ u, v, Y9; \
	VPADDQ   y, x, x; \
	VPADDQ   v, u, u; \
	VPADDQ   Y8, Y8, Y8; \
	VPADDQ   Y9, Y9, Y9; \
	VPADDQ   Y8, x, x; \
	VPADDQ   Y9, u, u

// The quarter round on all four columns of both.
#define QUARTERS \
	ADD(Y0, Y1, Y4, Y5); \
	VPXOR   Y0, Y3, Y3; \
	VPXOR   Y4, Y7, Y7; \
	VPSHUFD $0xb1, Y3, Y3; \
	VPSHUFD $0xb1, Y7, Y7; \
	ADD(Y2, Y3, Y6, Y7); \
	VPXOR   Y2, Y1, Y1; \
	VPXOR   Y6, Y5, Y5; \
	VPSHUFB Y14, Y1, Y1; \
	VPSHUFB Y14, Y5, Y5; \
	ADD(Y0, Y1, Y4, Y5); \
	VPXOR   Y0, Y3, Y3; \
	VPXOR   Y4, Y7, Y7; \
	VPSHUFB Y15, Y3, Y3; \
	VPSHUFB Y15, Y7, Y7; \
	ADD(Y2, Y3, Y6, Y7); \
	VPXOR   Y2, Y1, Y1; \
	VPXOR   Y6, Y5, Y5; \
	VPADDQ  Y1, Y1, Y8; \
	VPADDQ  Y5, Y5, Y9; \
	VPSRLQ  $63, Y1, Y1; \
	VPSRLQ  $63, Y5, Y5; \
	VPXOR   Y8, Y1, Y1; \
	VPXOR   Y9, Y5, Y5

// The permutation: columns, then diagonals, which are turned to be columns and back.
#define PERMUTE \
	QUARTERS; \
	VPERMQ $0x39, Y1, Y1; \
	VPERMQ $0x39, Y5, Y5; \
	VPERMQ $0x4e, Y2, Y2; \
	VPERMQ $0x4e, Y6, Y6; \
	VPERMQ $0x93, Y3, Y3; \
	VPERMQ $0x93, Y7, Y7; \
	QUARTERS; \
	VPERMQ $0x93, Y1, Y1; \
	VPERMQ $0x93, Y5, Y5; \
	VPERMQ $0x4e, Y2, Y2; \
	VPERMQ $0x4e, Y6, Y6; \
	VPERMQ $0x39, Y3, Y3; \
	VPERMQ $0x39, Y7, Y7

// One register of a row: a xor b.
#define JOIN(at, y) \
	VMOVDQU at(AX), y; \
	VPXOR   at(BX), y, y

// Two rows of a xor b, permuted, into t.
#define ROWS(at) \
	JOIN(at, Y0); \
	JOIN(at+32, Y1); \
	JOIN(at+64, Y2); \
	JOIN(at+96, Y3); \
	JOIN(at+128, Y4); \
	JOIN(at+160, Y5); \
	JOIN(at+192, Y6); \
	JOIN(at+224, Y7); \
	PERMUTE; \
	VMOVDQU Y0, at(CX); \
	VMOVDQU Y1, at+32(CX); \
	VMOVDQU Y2, at+64(CX); \
	VMOVDQU Y3, at+96(CX); \
	VMOVDQU Y4, at+128(CX); \
	VMOVDQU Y5, at+160(CX); \
	VMOVDQU Y6, at+192(CX); \
	VMOVDQU Y7, at+224(CX)

// Two pairs of columns: each register holds a pair of two rows that follow each other.
#define TAKE(at, x, y) \
	VMOVDQU     at(CX), x; \
	VINSERTI128 $1, at+128(CX), y, y

#define GIVE(at, x, y) \
	VMOVDQU      x, at(CX); \
	VEXTRACTI128 $1, y, at+128(CX)

#define COLUMNS(at) \
	TAKE(at, X0, Y0); \
	TAKE(at+256, X1, Y1); \
	TAKE(at+512, X2, Y2); \
	TAKE(at+768, X3, Y3); \
	TAKE(at+16, X4, Y4); \
	TAKE(at+272, X5, Y5); \
	TAKE(at+528, X6, Y6); \
	TAKE(at+784, X7, Y7); \
	PERMUTE; \
	GIVE(at, X0, Y0); \
	GIVE(at+256, X1, Y1); \
	GIVE(at+512, X2, Y2); \
	GIVE(at+768, X3, Y3); \
	GIVE(at+16, X4, Y4); \
	GIVE(at+272, X5, Y5); \
	GIVE(at+528, X6, Y6); \
	GIVE(at+784, X7, Y7)

// func mixAVX2(out, a, b, t *block, xor uint64)
TEXT ·mixAVX2(SB), NOSPLIT, $0-40
	MOVQ    out+0(FP), DX
	MOVQ    a+8(FP), AX
	MOVQ    b+16(FP), BX
	MOVQ    t+24(FP), CX
	MOVQ    xor+32(FP), SI
	VMOVDQU turn24<>(SB), Y14
	VMOVDQU turn16<>(SB), Y15

	ROWS(0)
	ROWS(256)
	ROWS(512)
	ROWS(768)
	COLUMNS(0)
	COLUMNS(32)
	COLUMNS(64)
	COLUMNS(96)

	// out = t xor a xor b, and xor out. out may be a or b: each word is read before it is written.
	XORQ  DI, DI
	TESTQ SI, SI
	JNZ   add

put:
	VMOVDQU (CX)(DI*1), Y0
	VPXOR   (AX)(DI*1), Y0, Y0
	VPXOR   (BX)(DI*1), Y0, Y0
	VMOVDQU 32(CX)(DI*1), Y1
	VPXOR   32(AX)(DI*1), Y1, Y1
	VPXOR   32(BX)(DI*1), Y1, Y1
	VMOVDQU Y0, (DX)(DI*1)
	VMOVDQU Y1, 32(DX)(DI*1)
	ADDQ    $64, DI
	CMPQ    DI, $1024
	JNE     put
	VZEROUPPER
	RET

add:
	VMOVDQU (CX)(DI*1), Y0
	VPXOR   (AX)(DI*1), Y0, Y0
	VPXOR   (BX)(DI*1), Y0, Y0
	VPXOR   (DX)(DI*1), Y0, Y0
	VMOVDQU 32(CX)(DI*1), Y1
	VPXOR   32(AX)(DI*1), Y1, Y1
	VPXOR   32(BX)(DI*1), Y1, Y1
	VPXOR   32(DX)(DI*1), Y1, Y1
	VMOVDQU Y0, (DX)(DI*1)
	VMOVDQU Y1, 32(DX)(DI*1)
	ADDQ    $64, DI
	CMPQ    DI, $1024
	JNE     add
	VZEROUPPER
	RET
