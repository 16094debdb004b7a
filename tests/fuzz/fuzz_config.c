/* fuzz_config.c - whole INI files. What loads must print, and what it prints must load again. */
#include "fuzz.h"

#include <sys/stat.h>
#include <unistd.h>

#include "config.h"

static char folder[64], path[96];

static void clean(void)
{
	(void)unlink(path);
	(void)rmdir(folder);
}

static void prepare(void)
{
	(void)snprintf(folder, sizeof folder, "%s/fuzz-config.XXXXXX",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	must(mkdtemp(folder));
	(void)snprintf(path, sizeof path, "%s/listenerd.ini", folder);
	must(atexit(clean) == 0);
}

static void put(const void *data, size_t size)
{
	FILE *f = fopen(path, "w");

	must(f && fchmod(fileno(f), 0600) == 0);
	must(size == 0 || fwrite(data, size, 1, f) == 1);
	must(fclose(f) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *config = NULL;
	struct lsn_error err = { 0 };
	char *text = NULL;
	size_t text_size = 0;

	if (!*folder)
		prepare();
	put(data, size);
	if (config_load(path, &config, &err) < 0) {
		must(!config && err.message[0] && memchr(err.message, 0, sizeof err.message));
		return 0;
	}
	FILE *out = open_memstream(&text, &text_size);
	must(out);
	config_print(config, out);
	must(fclose(out) == 0 && text_size > 0);
	config_free(config);
	free(text);
	return 0;
}
