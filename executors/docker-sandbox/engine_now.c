/* engine_now.c - the two moments at which the engine is waited for: before an instance exists
 * and after it has gone. Own connections, own curl handles, a budget of time that cannot be
 * overrun by more than a poll. */
#include "engine.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>

#include <cleanup.h>
#include <util.h>

#define REPLY_MAX (256u << 10)
#define SWEEP_MAX 64 /* requests at the same time */

struct reply {
	char *text;
	size_t size;
};

static size_t collect(char *data, size_t one, size_t count, void *user)
{
	struct reply *reply = user;
	size_t size = one * count;

	if (reply->size + size > REPLY_MAX)
		return 0;
	char *text = realloc(reply->text, reply->size + size + 1);
	if (!text)
		return 0;
	memcpy(text + reply->size, data, size);
	reply->text = text;
	reply->size += size;
	text[reply->size] = 0;
	return size;
}

static size_t discard(char *data, size_t one, size_t count, void *user)
{
	(void)data, (void)user;
	return one * count;
}

static CURL *request(const char *socket, const char *method, const char *url, uint64_t budget_usec, struct reply *reply)
{
	CURL *curl = curl_easy_init();

	if (!curl)
		return NULL;
	(void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
	(void)curl_easy_setopt(curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(budget_usec / USEC_PER_MSEC) + 1);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, reply ? collect : discard);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
	return curl;
}

static int not_answered(const char *socket, CURL *curl, CURLcode code, struct lsn_error *err)
{
	long os_errno = 0;

	if (code == CURLE_COULDNT_CONNECT)
		(void)curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_errno);
	(void)lsn_error_set(err, -(int)os_errno, "%s",
			    os_errno > 0 ? strerror((int)os_errno) : curl_easy_strerror(code));
	engine_explain(socket, err);
	return lsn_error_prefix(err, -EHOSTDOWN, "the Docker Engine at %s does not answer", socket);
}

/* GET PATH and wait. The status, or -EHOSTDOWN. */
static long get_now(const char *socket, const char *path, uint64_t budget_usec, json_t **ret, struct lsn_error *err)
{
	char url[512];
	struct reply reply = { 0 };
	long status = 0;

	(void)snprintf(url, sizeof url, "http://engine%s", path);
	CURL *curl = request(socket, "GET", url, budget_usec, &reply);
	CURLcode code = curl ? curl_easy_perform(curl) : CURLE_OUT_OF_MEMORY;
	if (code == CURLE_OK)
		(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	else
		status = not_answered(socket, curl, code, err);
	curl_easy_cleanup(curl);
	*ret = reply.text ? json_loadb(reply.text, reply.size, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
	free(reply.text);
	return status;
}

int engine_check_now(const char *socket, const char *image, uint64_t budget_usec, struct lsn_error *err)
{
	uint64_t end = now_monotonic_usec() + budget_usec, now;
	char api[16], path[400];
	json_t *json = NULL;
	long status = get_now(socket, "/version", budget_usec, &json, err);

	int r = status < 0 ? (int)status : engine_api_version(json, api, err);
	json_decref(json);
	now = now_monotonic_usec();
	if (r < 0 || now >= end)
		return r < 0 ? r : lsn_error_set(err, -ETIMEDOUT, "the Docker Engine at %s is slow", socket);
	(void)snprintf(path, sizeof path, "/v%s/images/%s/json", api, image);
	status = get_now(socket, path, end - now, &json, err);
	if (status < 0)
		return (int)status;
	char message[300];
	engine_message(json, status, message, sizeof message);
	json_decref(json);
	if (status == 404)
		return lsn_error_set(err, -ENOENT,
				     "image %s not found: build it with build-image, of the folder lib/listenerd",
				     image);
	return status == 200 ? 0 : lsn_error_set(err, -EREMOTEIO, "image %s: %s", image, message);
}

/* What answered 404 is asked for again; returns whether there was such a one. */
static bool again(CURLM *multi)
{
	int left;
	bool any = false;

	for (CURLMsg *msg; (msg = curl_multi_info_read(multi, &left));) {
		CURL *easy = msg->easy_handle;
		long status = 0;
		if (msg->msg != CURLMSG_DONE || curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK ||
		    status != 404)
			continue;
		(void)curl_multi_remove_handle(multi, easy);
		any |= curl_multi_add_handle(multi, easy) == CURLM_OK;
	}
	return any;
}

static void sweep(CURLM *multi, uint64_t retry_usec, uint64_t budget_usec)
{
	uint64_t began = now_monotonic_usec(), now;
	int running = 1;

	do {
		if (curl_multi_perform(multi, &running) != CURLM_OK ||
		    (now = now_monotonic_usec()) >= began + budget_usec)
			return;
		if (now < began + retry_usec && again(multi)) {
			running = 1;
			(void)curl_multi_poll(multi, NULL, 0, 20, NULL);
		} else if (running > 0)
			(void)curl_multi_poll(multi, NULL, 0, (int)((began + budget_usec - now) / USEC_PER_MSEC) + 1,
					      NULL);
	} while (running > 0);
}

void engine_sweep_now(const char *socket, const char *api, char *const *paths, size_t count, uint64_t retry_usec,
		      uint64_t budget_usec)
{
	CURL *easy[SWEEP_MAX] = { 0 };
	CURLM *multi = count > 0 ? curl_multi_init() : NULL;

	if (!multi)
		return;
	if (count > SWEEP_MAX)
		count = SWEEP_MAX;
	for (size_t i = 0; i < count; i++) {
		char url[256];
		(void)snprintf(url, sizeof url, "http://engine/v%s%s", api, paths[i]);
		easy[i] = request(socket, "DELETE", url, budget_usec, NULL);
		if (easy[i])
			(void)curl_multi_add_handle(multi, easy[i]);
	}
	sweep(multi, retry_usec, budget_usec);
	for (size_t i = 0; i < count; i++)
		if (easy[i]) {
			(void)curl_multi_remove_handle(multi, easy[i]);
			curl_easy_cleanup(easy[i]);
		}
	(void)curl_multi_cleanup(multi);
}
