/* Preloaded by avx2.py: answers the UD2 instructions that replace CPUID, as a processor with AVX2 alone would. */

#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <ucontext.h>

enum { BASIC = 0, FEATURES = 7, STATE = 0xd, FIRST_NEW = 0x1d, LAST_NEW = 0x24 };  /* new: AMX and AVX10 */

/* Of the features: AVX-512 and its extensions, VNNI, GFNI, VAES, VPCLMULQDQ, AMX, fp16. */
static const unsigned EBX = 1u << 16 | 1u << 17 | 1u << 21 | 3u << 26 | 1u << 28 | 3u << 30;
static const unsigned ECX = 1u << 1 | 1u << 6 | 0x1fu << 8 | 1u << 14;
static const unsigned EDX = 3u << 2 | 1u << 8 | 0xfu << 22;
static const unsigned AVX_STATE = 7;

static void answer(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *instruction = (const unsigned char *)registers[REG_RIP];
    if (instruction[0] != 0x0f || instruction[1] != 0x0b) {  /* another invalid instruction ends the process */
        signal(SIGILL, SIG_DFL);
        return;
    }
    unsigned leaf = registers[REG_RAX], part = registers[REG_RCX], a, b, c, d;
    __cpuid_count(leaf, part, a, b, c, d);
    if (leaf == FEATURES && part == BASIC) {
        a = 0;  /* no further parts; they have AVX-VNNI and bf16 */
        b &= ~EBX;
        c &= ~ECX;
        d &= ~EDX;
    } else if (leaf == STATE && part == BASIC) {
        a &= AVX_STATE;
    } else if (leaf == FEATURES || (leaf >= FIRST_NEW && leaf <= LAST_NEW)) {
        a = b = c = d = 0;
    }
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void install(void) {
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGILL, &action, 0);
}
