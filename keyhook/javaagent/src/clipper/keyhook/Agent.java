package clipper.keyhook;

import java.lang.instrument.ClassFileTransformer;
import java.lang.instrument.Instrumentation;
import java.lang.reflect.Method;
import java.security.ProtectionDomain;
import java.util.Collections;
import java.util.Map;
import java.util.Set;
import java.util.function.BiConsumer;

/**
 * Puts a call of {@link Secrets#log} in front of one method of JSSE, through
 * which every TLS 1.3 traffic secret and every older master secret passes:
 * sun.security.ssl.SSLTrafficKeyDerivation.createKeyDerivation(HandshakeContext, SecretKey).
 * Runs on Java 8 and later. Whatever goes wrong, the program starts as usual.
 */
public final class Agent implements ClassFileTransformer {
    private static final String TARGET = "sun/security/ssl/SSLTrafficKeyDerivation";

    private Agent() {}

    /** args is the file to append lines to. */
    public static void premain(String args, Instrumentation inst) {
        try {
            Secrets.file = args;
            openModule(inst);
            // What the patched method will do; an exception there would end a handshake.
            BiConsumer<?, ?> check = (BiConsumer<?, ?>) ClassLoader.getSystemClassLoader().loadClass(Secrets.class.getName()).newInstance();
            if (check.getClass() == Secrets.class) {
                inst.addTransformer(new Agent());
            }
        } catch (Throwable t) {
            // no secrets from this program
        }
    }

    /** Lets Secrets look into JSSE (Java 9 and later). */
    private static void openModule(Instrumentation inst) throws Exception {
        Method getModule;
        try {
            getModule = Class.class.getMethod("getModule");
        } catch (NoSuchMethodException e) {
            return;
        }
        Object base = getModule.invoke(Object.class), ours = getModule.invoke(Secrets.class);
        Class<?> module = getModule.getReturnType();
        Method redefine = Instrumentation.class.getMethod("redefineModule", module, Set.class, Map.class, Map.class, Set.class, Map.class);
        redefine.invoke(inst, base, Collections.emptySet(), Collections.emptyMap(),
            Collections.singletonMap("sun.security.ssl", Collections.singleton(ours)), Collections.emptySet(), Collections.emptyMap());
    }

    @Override
    public byte[] transform(ClassLoader loader, String name, Class<?> redefined, ProtectionDomain domain, byte[] file) {
        if (!TARGET.equals(name)) {
            return null;
        }
        try {
            return new ClassPatch(file).prepend("createKeyDerivation", "(Lsun/security/ssl/HandshakeContext;Ljavax/crypto/SecretKey;)",
                Secrets.class.getName());
        } catch (Throwable t) {
            return null;
        }
    }
}
