/* Counts what a guest executes: a QEMU TCG plugin (API version 1, QEMU 4.2 and later).
 *
 *   -plugin profile.so,out=FILE[,from=ADDRESS][,mark=ADDRESS:HEX]...
 *
 *   out   where the counts go when QEMU ends
 *   from  counting begins when this address is first executed; by default at reset
 *   mark  prints the instructions executed so far when ADDRESS is first executed and the bytes
 *         there are HEX (so that the same address of another program does not count); *ADDRESS is
 *         an offset in a page, for code that may lie in any
 *
 * FILE: "mark ADDRESS COUNT" for each mark reached, "total COUNT", then for each block of code
 * "block ADDRESS INSTRUCTIONS TIMES". Exact with one CPU and -accel tcg,thread=single, but for
 * blocks that a fault cuts short: they count in full.
 *
 * The declarations are those of qemu-plugin.h, which Debian does not package.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS = 0, INLINE_ADD_U64 = 0, MAX_MARKS = 8, MAX_BYTES = 64, BUCKETS = 1 << 16 };
typedef void (*tb_trans_cb)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*exec_cb)(unsigned cpu, void *data);
typedef void (*exit_cb)(qemu_plugin_id_t, void *data);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, tb_trans_cb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, exec_cb, int flags, void *data);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int op, void *at, uint64_t add);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, exec_cb, int flags, void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, exit_cb, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

struct block {
  uint64_t address, instructions, times, times_before;
  struct block *next;
};
struct mark {
  uint64_t address, count;
  unsigned char bytes[MAX_BYTES];
  size_t length;
  bool in_page, reached;
};

static struct block *blocks[BUCKETS];
static struct mark marks[MAX_MARKS];
static int mark_count;
static uint64_t total, total_before, from;
static bool counting = true;
static const char *out = "profile.txt";

/* A block is known by address and length: code that was translated again after a change of its
 * page keeps its counter. */
static struct block *block_of(uint64_t address, uint64_t instructions) {
  struct block **at = &blocks[(address ^ address >> 16) % BUCKETS];
  for (struct block *b = *at; b; b = b->next)
    if (b->address == address && b->instructions == instructions) return b;
  struct block *b = calloc(1, sizeof *b);
  if (!b) abort();
  b->address = address;
  b->instructions = instructions;
  b->next = *at;
  return *at = b;
}

static void begin(unsigned cpu, void *data) {
  (void)cpu, (void)data;
  if (counting) return;
  counting = true;
  total_before = total;
  for (int i = 0; i < BUCKETS; i++)
    for (struct block *b = blocks[i]; b; b = b->next) b->times_before = b->times;
}

static void reach(unsigned cpu, void *data) {
  (void)cpu;
  struct mark *m = data;
  if (m->reached) return;
  m->reached = true;
  m->count = total - total_before;
}

static bool has_bytes(const struct qemu_plugin_tb *tb, size_t first, const struct mark *m) {
  size_t seen = 0, count = qemu_plugin_tb_n_insns(tb);
  for (size_t i = first; i < count && seen < m->length; i++) {
    struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
    size_t size = qemu_plugin_insn_size(insn), left = m->length - seen;
    if (size > left) size = left;
    if (memcmp(qemu_plugin_insn_data(insn), m->bytes + seen, size)) return false;
    seen += size;
  }
  return seen > 0 || m->length == 0;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
  (void)id;
  size_t count = qemu_plugin_tb_n_insns(tb);
  struct block *b = block_of(qemu_plugin_tb_vaddr(tb), count);
  for (size_t i = 0; i < count; i++) {
    struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
    uint64_t address = qemu_plugin_insn_vaddr(insn);
    if (from && address == from)
      qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, NO_REGISTERS, NULL);
    for (int m = 0; m < mark_count; m++)
      if (marks[m].address == (marks[m].in_page ? address & 0xfff : address) && has_bytes(tb, i, &marks[m]))
        qemu_plugin_register_vcpu_insn_exec_cb(insn, reach, NO_REGISTERS, &marks[m]);
  }
  qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &b->times, 1);
  qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &total, count);
}

static void finish(qemu_plugin_id_t id, void *data) {
  (void)id, (void)data;
  FILE *f = fopen(out, "w");
  if (!f) return;
  for (int m = 0; m < mark_count; m++)
    if (marks[m].reached) fprintf(f, "mark %" PRIx64 " %" PRIu64 "\n", marks[m].address, marks[m].count);
  fprintf(f, "total %" PRIu64 "\n", total - total_before);
  for (int i = 0; i < BUCKETS; i++)
    for (struct block *b = blocks[i]; b; b = b->next)
      if (b->times != b->times_before)
        fprintf(f, "block %" PRIx64 " %" PRIu64 " %" PRIu64 "\n", b->address, b->instructions, b->times - b->times_before);
  fclose(f);
}

static bool parse_mark(const char *text, struct mark *m) {
  char *end;
  m->in_page = *text == '*';
  m->address = strtoull(text + m->in_page, &end, 16);
  if (*end != ':') return *end == 0;
  for (end++; end[0] && end[1] && m->length < MAX_BYTES; end += 2) {
    char digits[3] = {end[0], end[1], 0};
    m->bytes[m->length++] = strtoul(digits, NULL, 16);
  }
  return true;
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv) {
  (void)info;
  for (int i = 0; i < argc; i++) {
    if (!strncmp(argv[i], "out=", 4)) out = strdup(argv[i] + 4);
    else if (!strncmp(argv[i], "from=", 5)) from = strtoull(argv[i] + 5, NULL, 16), counting = false;
    else if (!strncmp(argv[i], "mark=", 5) && mark_count < MAX_MARKS && parse_mark(argv[i] + 5, &marks[mark_count])) mark_count++;
    else return fprintf(stderr, "profile: cannot use %s\n", argv[i]), 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, finish, NULL);
  return 0;
}
