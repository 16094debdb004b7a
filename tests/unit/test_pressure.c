/* test_pressure.c - the kernel's word that the machine is short. Processors are made scarce
 * instead of memory: the interface is the same, and nobody is hurt. */
#include "pressure.h"
#include "host.h"
#include "log.h"
#include "suite.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <util.h>

#define CPU_PRESSURE "/proc/pressure/cpu"
#define WAIT_USEC (40 * USEC_PER_SEC)
#define HOGS_MAX 256

static sd_event *loop;
static struct host *host;
static struct pressure pressure;
static unsigned calls;

static void on_pressure(void *data)
{
	(void)data;
	calls++;
}

static void setup(void)
{
	struct lsn_error err = { 0 };

	log_init(LSN_LOG_ERROR);
	calls = 0;
	ck_assert_int_ge(sd_event_new(&loop), 0);
	ck_assert_int_eq(host_new(loop, "listener", "pool", "", "", NULL, &host, &err), 0);
}

static void teardown(void)
{
	pressure_close(&pressure);
	pressure_close(&pressure);
	ck_assert_uint_eq(host_free(host), 0);
	sd_event_unref(loop);
}

static size_t start_hogs(pid_t hogs[HOGS_MAX])
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	size_t count = (size_t)(2 * processors < HOGS_MAX ? 2 * processors : HOGS_MAX);

	for (size_t i = 0; i < count; i++) {
		hogs[i] = fork();
		for (volatile unsigned n = 0; hogs[i] == 0; n++)
			if (getppid() == 1)
				_exit(0);
	}
	return count;
}

START_TEST(test_pressure__kernel_tells)
{
	pid_t hogs[HOGS_MAX];

	if (access(CPU_PRESSURE, W_OK) < 0)
		return; /* a kernel that does not count: test_pressure__without_psi is its test */
	ck_assert_int_eq(pressure_open(&pressure, host_services(host), CPU_PRESSURE, 1, on_pressure, NULL), 0);
	ck_assert(pressure_counted(&pressure));
	size_t count = start_hogs(hogs);
	uint64_t end = now_monotonic_usec() + WAIT_USEC;
	while (calls == 0 && now_monotonic_usec() < end)
		(void)sd_event_run(loop, USEC_PER_SEC);
	for (size_t i = 0; i < count; i++) {
		(void)kill(hogs[i], SIGKILL);
		(void)waitpid(hogs[i], NULL, 0);
	}
	ck_assert_uint_gt(calls, 0);
}
END_TEST

START_TEST(test_pressure__without_psi)
{
	ck_assert_int_eq(pressure_open(&pressure, host_services(host), "/proc/nowhere", 1, on_pressure, NULL), 0);
	ck_assert(!pressure_counted(&pressure));
	ck_assert_ptr_nonnull(pressure.timer);
}
END_TEST

START_TEST(test_pressure__what_is_available)
{
	ck_assert(!pressure_is_short("MemTotal:       1000000 kB\nMemFree:  100 kB\nMemAvailable:     50000 kB\n", 20));
	ck_assert(pressure_is_short("MemTotal:       1000000 kB\nMemFree:  100 kB\nMemAvailable:     49999 kB\n", 20));
	ck_assert(pressure_is_short("MemTotal:       1000000 kB\nMemFree:  100 kB\nMemAvailable:    999999 kB\n", 1));
	ck_assert(!pressure_is_short("MemTotal: 1000000 kB\n", 20));
	ck_assert(!pressure_is_short("", 1));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pressure");
	TCase *t = tcase_create("pressure");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_pressure__kernel_tells);
	tcase_add_test(t, test_pressure__without_psi);
	tcase_add_test(t, test_pressure__what_is_available);
	suite_add_tcase(suite, t);
	return suite_run(suite);
}
