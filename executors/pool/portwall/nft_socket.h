/* nft_socket.h - the way to the kernel's nf_tables: transactions there, and what our own tables
 * look like.
 *
 * Of other programs' tables no more than the name is ever looked at: what they hold may be of
 * any kind and version. All of it answers at once: netlink has its answer ready before sending
 * returns. Nothing blocks. */
#ifndef POOL_NFT_SOCKET_H
#define POOL_NFT_SOCKET_H

#include <listener/error.h>

#include "nft_picture.h"

/* nft_open - a socket for the calls below; nft_open_notes - one that becomes readable when any
 * table changes.
 * A descriptor or a negative errno. */
int nft_open(void);
int nft_open_notes(void);

/* nft_commit - hand over T, all or nothing.
 * 0, or a negative errno with ERR saying what the kernel says. */
int nft_commit(int fd, struct nft *t, struct lsn_error *err);

/* nft_exists - is there a table NAME?
 * False if the kernel does not say. */
bool nft_exists(int fd, uint8_t family, const char *name);

/* nft_each_table - FN for each table there is, of whatever family: its name, NUL-terminated.
 * 0 or a negative errno. */
typedef void (*nft_table_fn)(void *data, uint8_t family, const char *name);
int nft_each_table(int fd, nft_table_fn fn, void *data);

/* nft_take_picture - of the inet table NAME.
 * 0; -ENOENT: there is no such table; -EAGAIN: it changed meanwhile; -EFBIG: it is larger than
 * anything of ours; another negative errno. */
int nft_take_picture(int fd, const char *name, struct nft_picture *ret);

/* nft_read_notes - empties the socket of nft_open_notes().
 * True if ONE or OTHER was named, or if notes were lost. */
bool nft_read_notes(int fd, const char *one, const char *other);

#endif
