/* broker_tls.c - the TLS settings of a connection, as a context of our own.
 *
 * libmosquitto could make one, but it reads the files only when it connects, which is too late
 * to refuse them, and it checks the certificate against what it was told to connect to, which is
 * an address here: names are looked up by resolve.c. */
#include "broker_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cleanup.h>
#include <util.h>

static int tls_error(struct lsn_error *err, const char *what, const char *file)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(code);

	ERR_clear_error();
	return lsn_error_set(err, -EINVAL, "%s%s%s: %s", what, file ? " " : "", file ? file : "",
			     reason ? reason : "OpenSSL gives no reason");
}

/* A key that is encrypted would have OpenSSL ask for its password on the terminal, and wait. */
static int no_password(char *buf, int size, int writing, void *data)
{
	(void)buf, (void)size, (void)writing, (void)data;
	return -1;
}

static int on_verify(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct broker_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	if (!ok && !tls->refused[0])
		(void)snprintf(tls->refused, sizeof tls->refused, "the broker's certificate is refused: %s",
			       X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
	return ok;
}

static bool is_address(const char *host)
{
	unsigned char address[sizeof(struct in6_addr)];
	return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* on_handshake - the name goes into the first message of the handshake: libmosquitto has put the
 * address there. */
static void on_handshake(const SSL *ssl, int where, int value)
{
	(void)value;
	const struct broker_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	if (where & SSL_CB_HANDSHAKE_START)
		(void)SSL_set_tlsext_host_name((SSL *)(uintptr_t)ssl,
					       is_address(tls->host) ? NULL : (char *)(uintptr_t)tls->host);
}

static int tls_set_authorities(SSL_CTX *ctx, const struct broker_config *config, struct lsn_error *err)
{
	if (!config->tls_ca_file)
		return SSL_CTX_set_default_verify_paths(ctx) == 1 ? 0
								  : tls_error(err,
									      "cannot use the system's "
									      "authorities",
									      NULL);
	if (SSL_CTX_load_verify_locations(ctx, config->tls_ca_file, NULL) != 1)
		return tls_error(err, "tls_ca_file: cannot use the certificates in", config->tls_ca_file);
	return 0;
}

static int tls_set_certificate(SSL_CTX *ctx, const struct broker_config *config, struct lsn_error *err)
{
	if (!config->tls_cert_file)
		return 0;
	if (SSL_CTX_use_certificate_chain_file(ctx, config->tls_cert_file) != 1)
		return tls_error(err, "tls_cert_file: cannot use the certificate in", config->tls_cert_file);
	if (SSL_CTX_use_PrivateKey_file(ctx, config->tls_key_file, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(ctx) != 1)
		return tls_error(err, "tls_key_file: cannot use the key in", config->tls_key_file);
	return 0;
}

static int tls_set_name(SSL_CTX *ctx, const char *host, struct lsn_error *err)
{
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);
	int ok = is_address(host) ? X509_VERIFY_PARAM_set1_ip_asc(param, host)
				  : X509_VERIFY_PARAM_set1_host(param, host, 0);

	return ok ? 0 : tls_error(err, "no certificate can be for the host", host);
}

static int tls_check_files(const struct broker_config *config, struct lsn_error *err)
{
	const struct {
		const char *key, *file;
	} files[] = {
		{ "tls_ca_file", config->tls_ca_file },
		{ "tls_cert_file", config->tls_cert_file },
		{ "tls_key_file", config->tls_key_file },
	};

	if (broker_config_is_unix(config))
		return lsn_error_set(err, -EINVAL,
				     "TLS over a unix socket is not supported: give a host, or turn "
				     "TLS off");
	if (!config->tls_cert_file != !config->tls_key_file)
		return lsn_error_set(err, -EINVAL, "a TLS client certificate and its key go together");
	for (size_t i = 0; i < ELEMENTSOF(files); i++)
		if (files[i].file && access(files[i].file, R_OK) < 0)
			return lsn_error_set(err, -errno, "%s: cannot read %s: %s", files[i].key, files[i].file,
					     strerror(errno));
	return 0;
}

static int tls_set(SSL_CTX *ctx, const struct broker_config *config, struct broker_tls *tls, struct lsn_error *err)
{
	(void)SSL_CTX_set_app_data(ctx, tls);
	(void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_default_passwd_cb(ctx, no_password);
	SSL_CTX_set_info_callback(ctx, on_handshake);
	SSL_CTX_set_verify(ctx, config->tls_verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, on_verify);
	int r = tls_set_authorities(ctx, config, err);
	if (r == 0)
		r = tls_set_certificate(ctx, config, err);
	if (r == 0 && config->tls_verify)
		r = tls_set_name(ctx, config->host, err);
	return r;
}

int broker_tls_new(const struct broker_config *config, struct broker_tls *tls, SSL_CTX **ret, struct lsn_error *err)
{
	int r = tls_check_files(config, err);
	if (r < 0)
		return r;
	ERR_clear_error();
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	if (!ctx)
		return tls_error(err, "cannot make a TLS context", NULL);
	*tls = (struct broker_tls){ .host = config->host };
	r = tls_set(ctx, config, tls, err);
	if (r < 0) {
		SSL_CTX_free(ctx);
		return r;
	}
	*ret = ctx;
	return 0;
}
