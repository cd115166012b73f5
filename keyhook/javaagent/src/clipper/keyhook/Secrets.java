package clipper.keyhook;

import java.io.File;
import java.io.FileOutputStream;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.util.function.BiConsumer;
import javax.crypto.SecretKey;

/** Appends secrets to a file: lines of an SSLKEYLOGFILE (RFC 9850) with the process id as a fourth word. */
public final class Secrets implements BiConsumer<Object, Object> {
    static volatile String file;
    private static FileOutputStream out;
    private static String pid;

    /** context is a sun.security.ssl.HandshakeContext, key a SecretKey. Never throws. */
    @Override
    public void accept(Object context, Object key) {
        try {
            SecretKey k = (SecretKey) key;
            String label = label(k.getAlgorithm());
            if (label == null) {
                return;
            }
            byte[] random = (byte[]) field(field(context, "clientHelloRandom"), "randomBytes");
            write(label + " " + hex(random) + " " + hex(k.getEncoded()));
        } catch (Throwable t) {
            // this secret is not known
        }
    }

    private static String label(String algorithm) {
        switch (algorithm) {
            case "TlsClientHandshakeTrafficSecret": return "CLIENT_HANDSHAKE_TRAFFIC_SECRET";
            case "TlsServerHandshakeTrafficSecret": return "SERVER_HANDSHAKE_TRAFFIC_SECRET";
            case "TlsClientAppTrafficSecret": return "CLIENT_TRAFFIC_SECRET_0";
            case "TlsServerAppTrafficSecret": return "SERVER_TRAFFIC_SECRET_0";
            case "TlsMasterSecret": return "CLIENT_RANDOM";
            default: return null;
        }
    }

    private static synchronized void write(String line) throws Exception {
        if (out == null) {
            pid = new File("/proc/self").getCanonicalFile().getName();
            out = new FileOutputStream(file, true);
        }
        out.write((line + " " + pid + "\n").getBytes(StandardCharsets.US_ASCII)); // one write: whole lines
    }

    private static Object field(Object o, String name) throws Exception {
        for (Class<?> c = o.getClass(); c != null; c = c.getSuperclass()) {
            try {
                Field f = c.getDeclaredField(name);
                f.setAccessible(true);
                return f.get(o);
            } catch (NoSuchFieldException e) {
                // perhaps the superclass
            }
        }
        throw new NoSuchFieldException(name);
    }

    private static String hex(byte[] b) {
        StringBuilder s = new StringBuilder(2 * b.length);
        for (byte x : b) {
            s.append(Character.forDigit(x >> 4 & 15, 16)).append(Character.forDigit(x & 15, 16));
        }
        return s.toString();
    }
}
